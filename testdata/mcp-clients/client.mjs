// Signs in once with one of the TypeScript SDKs and prints what happened, as one line of JSON.
// The argument: {sdk: 1|2, transport: stdio|http|sse, era: legacy|auto, elicit: bool, url, token, command, env}.
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SSE1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport as Stdio1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as HTTP1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitationCompleteNotificationSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { Client as Client2, SSEClientTransport as SSE2, StreamableHTTPClientTransport as HTTP2 } from "@modelcontextprotocol/client";
import { StdioClientTransport as Stdio2 } from "@modelcontextprotocol/client/stdio";

const want = JSON.parse(process.argv[2]);
const two = want.sdk === 2;
const seen = { asked: "", completed: false, progress: 0 };

const options = { capabilities: want.elicit ? { elicitation: { url: {} } } : {} };
if (two) options.versionNegotiation = { mode: want.era };
const client = new (two ? Client2 : Client1)({ name: `sdk ${want.sdk}`, version: "1" }, options);
if (want.elicit) {
  const open = async request => { seen.asked = request.params.url; return { action: "accept" }; };
  if (two) client.setRequestHandler("elicitation/create", open);
  else {
    client.setRequestHandler(ElicitRequestSchema, open);
    client.setNotificationHandler(ElicitationCompleteNotificationSchema, () => { seen.completed = true; });
  }
}

const headers = { Authorization: `Bearer ${want.token}` };
const how = { requestInit: { headers } };
const transport = {
  stdio: () => new (two ? Stdio2 : Stdio1)({ command: want.command, env: { ...process.env, ...want.env }, stderr: "inherit" }),
  http: () => new (two ? HTTP2 : HTTP1)(new URL("/mcp", want.url), how),
  sse: () => new (two ? SSE2 : SSE1)(new URL("/sse", want.url), how),
}[want.transport]();

const call = async (name, args, extra) => {
  const params = { name, arguments: args };
  const result = two ? await client.callTool(params, extra) : await client.callTool(params, undefined, extra);
  return result.structuredContent;
};

try {
  await client.connect(transport);
  seen.tools = (await client.listTools()).tools.length;
  seen.card = (await client.readResource({ uri: "ui://latchpost/connect" })).contents[0].mimeType;
  try {
    seen.first = (await call("request_auth", { provider: "practice" })).type;
  } catch (error) {
    seen.first = error.code;
  }
  if (seen.first !== "connected") {
    const status = await call("wait_for_auth", { request_id: "REQpractice", wait_seconds: 1 }, { onprogress: () => { seen.progress++; } });
    seen.status = status.status;
  }
  seen.second = (await call("request_auth", { provider: "practice" })).type;
  await client.close();
} catch (error) {
  seen.error = String(error?.stack ?? error);
}
console.log(JSON.stringify(seen));
process.exit(0);
