// Command mcp-client prints what the official SDK for Go makes of a server, as JSON: `mcp-client URL KEY VERSION PLAN`.
//
// VERSION is the protocol's revision, empty for the SDK's own choice. PLAN is JSON: calls of tools by a name for each, and the
// names of prompts and URIs of resources to read.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type plan struct {
	Calls map[string]struct {
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
	} `json:"calls"`
	Prompts   []string `json:"prompts"`
	Resources []string `json:"resources"`
}

type keyed struct{ key string }

func (k keyed) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+k.key)
	return http.DefaultTransport.RoundTrip(request)
}

func main() {
	seen, err := use(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(seen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func use(url, key, version, text string) (map[string]any, error) {
	var todo plan
	if err := json.Unmarshal([]byte(text), &todo); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	client := mcp.NewClient(&mcp.Implementation{Name: "mcp-client", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{
		Endpoint:   url,
		HTTPClient: &http.Client{Transport: keyed{key}},
	}
	session, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	seen := map[string]any{
		"version": session.InitializeResult().ProtocolVersion,
		"session": session.ID(),
	}
	if err := listed(ctx, session, seen); err != nil {
		return nil, err
	}
	calls := map[string]any{}
	for name, call := range todo.Calls {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: call.Name, Arguments: call.Arguments})
		if err != nil {
			calls[name] = refused(err)
			continue
		}
		calls[name] = map[string]any{"text": textOf(result.Content), "isError": result.IsError}
	}
	seen["calls"] = calls
	prompts := map[string]any{}
	for _, name := range todo.Prompts {
		if result, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: name}); err != nil {
			prompts[name] = refused(err)
		} else {
			prompts[name] = textOf([]mcp.Content{result.Messages[0].Content})
		}
	}
	seen["prompts read"] = prompts
	resources := map[string]any{}
	for _, uri := range todo.Resources {
		if result, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri}); err != nil {
			resources[uri] = refused(err)
		} else {
			resources[uri] = result.Contents[0].Text
		}
	}
	seen["resources read"] = resources
	return seen, session.Close()
}

// listed puts the names of what the server has into seen.
func listed(ctx context.Context, session *mcp.ClientSession, seen map[string]any) error {
	tools, prompts, resources := []string{}, []string{}, []string{}
	for one, err := range session.Tools(ctx, nil) {
		if err != nil {
			return fmt.Errorf("tools: %w", err)
		}
		tools = append(tools, one.Name)
	}
	for one, err := range session.Prompts(ctx, nil) {
		if err != nil {
			return fmt.Errorf("prompts: %w", err)
		}
		prompts = append(prompts, one.Name)
	}
	for one, err := range session.Resources(ctx, nil) {
		if err != nil {
			return fmt.Errorf("resources: %w", err)
		}
		resources = append(resources, one.URI)
	}
	seen["tools"], seen["prompts"], seen["resources"] = tools, prompts, resources
	return nil
}

func textOf(content []mcp.Content) string {
	if len(content) > 0 {
		if text, ok := content[0].(*mcp.TextContent); ok {
			return text.Text
		}
	}
	return ""
}

// refused returns the code and the words of an error of the protocol.
func refused(err error) any {
	var wire *jsonrpc.Error
	if errors.As(err, &wire) {
		return []any{wire.Code, wire.Message}
	}
	return []any{nil, err.Error()}
}
