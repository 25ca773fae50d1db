// A Mastra agent with a scripted model: it wants a call, is told auth_required, waits for the user, and calls
// again. Prints what the model saw, one JSON document per tool result. Argument: {command, env} for stdio, {url, token} for HTTP.
import { Agent } from "@mastra/core/agent";
import { MCPClient } from "@mastra/mcp";

const want = JSON.parse(process.argv[2]);
const latchpost = want.url
  ? { url: new URL("/mcp", want.url), requestInit: { headers: { Authorization: `Bearer ${want.token}` } } }
  : { command: want.command, args: [], env: want.env };
const mcp = new MCPClient({ servers: { latchpost } });

const seen = [];
// The model does what the answers tell it, as a model would.
const next = () => {
  const answer = seen.at(-1);
  if (!answer) return ["latchpost_request_auth", { provider: "practice" }];
  if (answer.type === "auth_required") return ["latchpost_wait_for_auth", { request_id: answer.request_id, wait_seconds: 1 }];
  if (answer.type === "auth_status" && answer.status === "connected") return ["latchpost_call_api", { provider: "practice", path: "/me" }];
};

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
const parts = prompt => {
  for (const message of prompt.slice(1).filter(m => m.role === "tool").slice(seen.length)) {
    for (const part of message.content) {
      const value = part.output?.value ?? part.output;
      const text = Array.isArray(value) ? value.find(p => p.type === "text")?.text : value;
      seen.push(typeof text === "string" ? JSON.parse(text) : text?.structuredContent ?? text);
    }
  }
  const tool = next();
  return tool
    ? [{ type: "tool-call", toolCallId: `call-${seen.length}`, toolName: tool[0], input: JSON.stringify(tool[1]) }]
    : [{ type: "text", text: "done" }];
};
const model = {
  specificationVersion: "v2", provider: "script", modelId: "script", supportedUrls: {},
  async doGenerate({ prompt }) {
    const content = parts(prompt);
    return { content, finishReason: content[0].type === "text" ? "stop" : "tool-calls", usage, warnings: [] };
  },
  async doStream({ prompt }) {
    const content = parts(prompt), finishReason = content[0].type === "text" ? "stop" : "tool-calls";
    const events = [{ type: "stream-start", warnings: [] }, { type: "response-metadata", id: "r", modelId: "script", timestamp: new Date() }];
    if (content[0].type === "text") {
      events.push({ type: "text-start", id: "t" }, { type: "text-delta", id: "t", delta: "done" }, { type: "text-end", id: "t" });
    } else events.push(content[0]);
    events.push({ type: "finish", finishReason, usage });
    return { stream: new ReadableStream({ start(c) { events.forEach(e => c.enqueue(e)); c.close(); } }) };
  },
};

const tools = await mcp.listTools();
const agent = new Agent({ id: "scripted", name: "scripted", instructions: "Use the tools.", model, tools });
const answer = await agent.generate("Who am I at practice?", { maxSteps: 8 });
console.log(JSON.stringify({ tools: Object.keys(tools), said: answer.text, seen }));
await mcp.disconnect();
process.exit(0);
