// A server that speaks over its standard input and output, by streamable HTTP on a loopback port:
// messages pass between the SDK's two transports as they are.
//
// bridge.mjs PORT PROGRAM ARGUMENT...

import { randomUUID } from "node:crypto";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

const [port, command, ...args] = process.argv.slice(2);
const transports = new Map();

async function begin() {
  const process = new StdioClientTransport({ command, args });
  const http = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => transports.set(id, http),
    onsessionclosed: () => process.close(),
  });
  http.onmessage = (message) => process.send(message);
  process.onmessage = (message) => http.send(message);
  await Promise.all([process.start(), http.start()]);
  return http;
}

const app = createMcpExpressApp({ host: "127.0.0.1" });
app.all("/mcp", async (request, response) => {
  const transport = transports.get(request.headers["mcp-session-id"]) ?? (await begin());
  await transport.handleRequest(request, response, request.body);
});
app.listen(Number(port), "127.0.0.1");
