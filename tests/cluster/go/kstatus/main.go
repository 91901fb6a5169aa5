// Command kstatus prints what kstatus makes of each Kubernetes object on its standard input (JSON, one after the other): a line
// with the status as Flux and Helm compute it, a tab, the status as the original library does, a tab, and the latter's message.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	original "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	decoder := json.NewDecoder(os.Stdin)
	for {
		var text json.RawMessage
		err := decoder.Decode(&text)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = tell(text)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func tell(text []byte) error {
	// not json.Unmarshal, which makes floats of all numbers
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return err
	}
	byFlux, err := flux.Compute(object)
	if err != nil {
		return err
	}
	found, err := original.Compute(object)
	if err != nil {
		return err
	}
	message := strings.ReplaceAll(found.Message, "\n", " ")
	fmt.Printf("%s\t%s\t%s\n", byFlux.Status, found.Status, message)
	return nil
}
