// The official TypeScript SDK as a client: plays a plan, and prints what came of each step as JSON.
//
// client.mjs URL PLAN [TOKEN]: PLAN is a JSON array of steps, [what, name or URI, arguments].

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const [url, plan, token] = process.argv.slice(2);
// A server that asks for roots of its own accord may do so before the client listens, and is never
// answered then: only a plan in which a tool asks has any.
const roots = plan.includes('"get-roots-list"') ? { roots: {} } : {};
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client(
  { name: "testbed", version: "1" },
  { capabilities: { sampling: {}, elicitation: { form: {} }, ...roots } },
);
client.setRequestHandler(types.CreateMessageRequestSchema, ({ params }) => ({
  role: "assistant",
  content: { type: "text", text: `sampled ${params.messages.length}` },
  model: "none",
}));
client.setRequestHandler(types.ElicitRequestSchema, () => ({ action: "decline" }));
if (roots.roots) {
  client.setRequestHandler(types.ListRootsRequestSchema, () => ({
    roots: [{ uri: "file:///tmp", name: "tmp" }],
  }));
}

const progress = [];
const onprogress = ({ progress: at, total }) => progress.push([at, total]);
const steps = {
  call: (name, args) => client.callTool({ name, arguments: args }, undefined, { onprogress }),
  complete: (name, args) =>
    client.complete({ ref: { type: "ref/prompt", name }, argument: args }),
  prompt: (name, args) => client.getPrompt({ name, arguments: args }),
  prompts: () => client.listPrompts(),
  read: (uri) => client.readResource({ uri }),
  resources: () => client.listResources(),
  templates: () => client.listResourceTemplates(),
  tools: () => client.listTools(),
};

await client.connect(transport);
// Some servers offer more once they know the client's roots.
await new Promise((done) => setTimeout(done, 500));
const out = [{ server: client.getServerVersion(), offers: client.getServerCapabilities() }];
for (const [what, name, args] of JSON.parse(plan)) {
  try {
    out.push(await steps[what](name, args));
  } catch (error) {
    out.push({ failed: error.message });
  }
}
await transport.terminateSession();
await client.close();
// A pipe takes it in pieces.
process.stdout.write(JSON.stringify([...out, { progress }]), () => process.exit(0));
