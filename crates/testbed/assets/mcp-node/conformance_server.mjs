// What the official conformance suite (0.1.16) asks a server for, on a loopback port.
//
// conformance_server.mjs PORT

import { randomUUID } from "node:crypto";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const image = { data: Buffer.from("GIF89a").toString("base64"), mimeType: "image/png" };
const sound = { data: Buffer.from("RIFF").toString("base64"), mimeType: "audio/wav" };
const note = (uri) => ({ uri, mimeType: "text/plain", text: "A note for testing." });
const said = (text) => ({ content: [{ type: "text", text }] });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const named = (constants) => constants.map((it) => ({ const: it, title: it.toUpperCase() }));

const enums = {
  untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
  titledSingle: { type: "string", oneOf: named(["value1", "value2", "value3"]) },
  legacyEnum: { type: "string", enum: ["opt1", "opt2"], enumNames: ["One", "Two"] },
  untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2"] } },
  titledMulti: { type: "array", items: { anyOf: named(["value1", "value2"]) } },
};
const defaults = {
  name: { type: "string", default: "John Doe" },
  age: { type: "integer", default: 30 },
  score: { type: "number", default: 95.5 },
  status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
  verified: { type: "boolean", default: true },
};

const ask = async (extra, message, properties) => {
  const params = { message, requestedSchema: { type: "object", properties } };
  const asked = { method: "elicitation/create", params };
  const answer = await extra.sendRequest(asked, types.ElicitResultSchema);
  return said(`Elicitation completed: action=${answer.action}`);
};
const log = (extra, data) =>
  extra.sendNotification({ method: "notifications/message", params: { level: "info", data } });

const tools = {
  test_simple_text: () => said("This is a simple text response for testing."),
  test_image_content: () => ({ content: [{ type: "image", ...image }] }),
  test_audio_content: () => ({ content: [{ type: "audio", ...sound }] }),
  test_embedded_resource: () => ({
    content: [{ type: "resource", resource: note("test://embedded-resource") }],
  }),
  test_multiple_content_types: () => ({
    content: [
      { type: "text", text: "Several kinds:" },
      { type: "image", ...image },
      { type: "resource", resource: note("test://mixed-content-resource") },
    ],
  }),
  test_tool_with_logging: async (_, extra) => {
    for (const word of ["started", "goes on", "completed"]) {
      await log(extra, word);
      await pause(50);
    }
    return said("logged");
  },
  test_tool_with_progress: async (_, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      const params = { progressToken, progress, total: 100 };
      await extra.sendNotification({ method: "notifications/progress", params });
      await pause(50);
    }
    return said("done");
  },
  test_error_handling: () => ({ ...said("This tool intentionally fails."), isError: true }),
  test_reconnection: async (_, extra) => {
    extra.closeSSEStream?.();
    await pause(100);
    return said("reconnected");
  },
  test_sampling: async ({ prompt }, extra) => {
    const messages = [{ role: "user", content: { type: "text", text: prompt } }];
    const asked = { method: "sampling/createMessage", params: { messages, maxTokens: 100 } };
    const answer = await extra.sendRequest(asked, types.CreateMessageResultSchema);
    return said(`LLM response: ${answer.content.text}`);
  },
  test_elicitation: ({ message }, extra) =>
    ask(extra, message, { username: { type: "string" }, email: { type: "string" } }),
  test_elicitation_sep1034_defaults: (_, extra) => ask(extra, "Defaults?", defaults),
  test_elicitation_sep1330_enums: (_, extra) => ask(extra, "Which?", enums),
  json_schema_2020_12_tool: () => said("ok"),
};
const schemas = {
  test_sampling: { type: "object", properties: { prompt: { type: "string" } } },
  test_elicitation: { type: "object", properties: { message: { type: "string" } } },
  json_schema_2020_12_tool: {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    $defs: { address: { type: "object", properties: { street: { type: "string" } } } },
    properties: { name: { type: "string" }, address: { $ref: "#/$defs/address" } },
    additionalProperties: false,
  },
};

const user = (content) => ({ role: "user", content });
const text = (it) => user({ type: "text", text: it });
const prompts = {
  test_simple_prompt: () => [text("This is a simple prompt for testing.")],
  test_prompt_with_arguments: ({ arg1, arg2 }) => [text(`arg1='${arg1}', arg2='${arg2}'`)],
  test_prompt_with_embedded_resource: ({ resourceUri }) => [
    user({ type: "resource", resource: note(resourceUri) }),
  ],
  test_prompt_with_image: () => [user({ type: "image", ...image })],
};

const resources = {
  "test://static-text": note,
  "test://static-binary": (uri) => ({ uri, mimeType: image.mimeType, blob: image.data }),
  "test://watched-resource": note,
};

function newServer() {
  const server = new Server(
    { name: "conformance", version: "1" },
    {
      capabilities: {
        tools: {},
        resources: { subscribe: true },
        prompts: {},
        logging: {},
        completions: {},
      },
    },
  );
  const on = (schema, handler) => server.setRequestHandler(schema, handler);
  on(types.ListToolsRequestSchema, () => ({
    tools: Object.keys(tools).map((name) => ({
      name,
      description: `The tool ${name}.`,
      inputSchema: schemas[name] ?? { type: "object" },
    })),
  }));
  on(types.CallToolRequestSchema, ({ params }, extra) => {
    const tool = tools[params.name];
    if (!tool) throw new types.McpError(types.ErrorCode.InvalidParams, "no such tool");
    return tool(params.arguments ?? {}, extra);
  });
  on(types.ListPromptsRequestSchema, () => ({
    prompts: Object.keys(prompts).map((name) => ({ name, description: `The prompt ${name}.` })),
  }));
  on(types.GetPromptRequestSchema, ({ params }) => ({
    messages: prompts[params.name](params.arguments ?? {}),
  }));
  on(types.ListResourcesRequestSchema, () => ({
    resources: Object.keys(resources).map((uri) => ({ uri, name: uri, description: uri })),
  }));
  on(types.ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "template" }],
  }));
  on(types.ReadResourceRequestSchema, ({ params: { uri } }) => {
    const [, id] = /^test:\/\/template\/([^/]+)\/data$/.exec(uri) ?? [];
    const mimeType = "application/json";
    const filled = { uri, mimeType, text: JSON.stringify({ id, data: `Data for ID: ${id}` }) };
    return { contents: [id ? filled : resources[uri](uri)] };
  });
  on(types.SubscribeRequestSchema, () => ({}));
  on(types.UnsubscribeRequestSchema, () => ({}));
  on(types.SetLevelRequestSchema, () => ({}));
  on(types.CompleteRequestSchema, () => ({ completion: { values: [], total: 0 } }));
  return server;
}

// Streams can be taken up again after their last event.
function eventStore() {
  const events = [];
  return {
    async storeEvent(stream, message) {
      events.push({ stream, message });
      return `${events.length}`;
    },
    async getStreamIdForEventId(id) {
      return events[Number(id) - 1]?.stream;
    },
    async replayEventsAfter(id, { send }) {
      const { stream } = events[Number(id) - 1];
      for (const [at, event] of events.entries()) {
        if (at >= Number(id) && event.stream === stream) await send(`${at + 1}`, event.message);
      }
      return stream;
    },
  };
}

const transports = new Map();
const app = createMcpExpressApp({ host: "127.0.0.1" });
app.all("/mcp", async (request, response) => {
  let transport = transports.get(request.headers["mcp-session-id"]);
  if (!transport && types.isInitializeRequest(request.body)) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: eventStore(),
      retryInterval: 500,
      onsessioninitialized: (id) => transports.set(id, transport),
    });
    await newServer().connect(transport);
  }
  if (!transport) {
    const error = { code: -32000, message: "no such session" };
    return response.status(400).json({ jsonrpc: "2.0", id: null, error });
  }
  await transport.handleRequest(request, response, request.body);
});
app.listen(Number(process.argv[2]), "127.0.0.1");
