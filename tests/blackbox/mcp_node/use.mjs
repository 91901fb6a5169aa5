// Prints what an official SDK for TypeScript makes of a server, as JSON: `node use.mjs SDK URL KEY MODE PLAN`.
//
// SDK is v1 (@modelcontextprotocol/sdk) or v2 (@modelcontextprotocol/client); MODE is how v2 chooses the protocol's revision. PLAN is JSON:
// calls of tools by a name for each, and the names of prompts and URIs of resources to read.

const [sdk, url, key, mode, plan] = process.argv.slice(2);
const { calls, prompts, resources } = JSON.parse(plan);

async function classes() {
  if (sdk === "v2") return import("@modelcontextprotocol/client");
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  return { Client, StreamableHTTPClientTransport };
}

const { Client, StreamableHTTPClientTransport } = await classes();
const client = new Client({ name: "use", version: "1" }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { authorization: `Bearer ${key}` } },
});

async function each(names, ask) {
  const answers = {};
  for (const name of names) {
    try {
      answers[name] = await ask(name);
    } catch (error) {
      answers[name] = [error.code ?? null, error.message];
    }
  }
  return answers;
}

// the first SDK leaves the pages of a list to its user
async function listed(method, kind) {
  const found = [];
  let cursor;
  do {
    const page = await client[method]({ cursor });
    found.push(...page[kind]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

await client.connect(transport);
const seen = {
  version: transport.protocolVersion ?? client.getNegotiatedProtocolVersion?.(),
  session: transport.sessionId ?? "",
  tools: (await listed("listTools", "tools")).map((one) => one.name),
  prompts: (await listed("listPrompts", "prompts")).map((one) => one.name),
  resources: (await listed("listResources", "resources")).map((one) => one.uri),
};
seen.calls = await each(Object.keys(calls), async (name) => {
  const result = await client.callTool(calls[name]);
  return { text: result.content[0]?.text ?? "", isError: result.isError ?? false };
});
seen["prompts read"] = await each(prompts, async (name) => (await client.getPrompt({ name })).messages[0].content.text);
seen["resources read"] = await each(resources, async (uri) => (await client.readResource({ uri })).contents[0].text);
if (transport.sessionId) await transport.terminateSession();
await client.close();
console.log(JSON.stringify(seen));
