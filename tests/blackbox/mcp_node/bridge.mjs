// Serves a tool server that speaks over its standard input and output by HTTP, a process for each session: `node bridge.mjs PORT COMMAND...`.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

const [port, command, ...args] = process.argv.slice(2);
const sessions = new Map();

async function opened() {
  const here = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, here),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const there = new StdioClientTransport({ command, args, env: process.env });
  here.onmessage = (message) => there.send(message);
  there.onmessage = (message) => here.send(message);
  here.onclose = () => there.close();
  await there.start();
  await here.start();
  return here;
}

createServer(async (request, response) => {
  const id = request.headers["mcp-session-id"];
  if (id !== undefined && !sessions.has(id)) {
    response.writeHead(404).end();
    return;
  }
  const transport = id === undefined ? await opened() : sessions.get(id);
  await transport.handleRequest(request, response);
}).listen(Number(port), "127.0.0.1");
