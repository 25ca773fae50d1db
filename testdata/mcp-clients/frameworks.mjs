// What agent frameworks make of our tools: each lists them, is told auth_required, waits for the user, and calls. Prints
// the names, and what a model would be shown of each result. Argument: {framework, command, env} for stdio,
// {framework, url, token} for HTTP.
import { createMCPClient } from "@ai-sdk/mcp";
import { Experimental_StdioMCPTransport } from "@ai-sdk/mcp/mcp-stdio";
import { MultiServerMCPClient } from "@langchain/mcp-adapters";
import { getAllMcpTools, MCPServerStdio, MCPServerStreamableHttp, RunContext } from "@openai/agents-core";

const want = JSON.parse(process.argv[2]);
const url = want.url && new URL("/mcp", want.url).href;
const headers = { Authorization: `Bearer ${want.token}` };
const stdio = { command: want.command, args: [], env: want.env };

// Each gives the tools' names, call(name, arguments), and close.
const frameworks = {
  async langchain() {
    const client = new MultiServerMCPClient({ latchpost: url ? { transport: "http", url, headers } : { transport: "stdio", ...stdio } });
    const tools = await client.getTools();
    return {
      tools: tools.map(t => t.name),
      call: (name, args) => tools.find(t => t.name === name).invoke(args),
      close: () => client.close(),
    };
  },
  async openai() {
    const server = url ? new MCPServerStreamableHttp({ url, requestInit: { headers } }) : new MCPServerStdio(stdio);
    await server.connect();
    const tools = await getAllMcpTools([server], new RunContext(), { name: "scripted" }, true);
    return {
      tools: tools.map(t => t.name),
      call: (name, args) => tools.find(t => t.name === name).invoke(new RunContext(), JSON.stringify(args)),
      close: () => server.close(),
    };
  },
  async ai() {
    const client = await createMCPClient({ transport: url ? { type: "http", url, headers } : new Experimental_StdioMCPTransport(stdio) });
    const tools = await client.tools();
    return {
      tools: Object.keys(tools),
      call: (name, args) => tools[name].execute(args, { toolCallId: name, messages: [] }),
      close: () => client.close(),
    };
  },
};

const { tools, call, close } = await frameworks[want.framework]();
const seen = [];
for (const [name, args] of [
  ["request_auth", () => ({ provider: "practice" })],
  ["wait_for_auth", () => ({ request_id: seen[0].request_id, wait_seconds: 1 })],
  ["call_api", () => ({ provider: "practice", path: "/me" })],
]) {
  const result = await call(name, args());
  seen.push(JSON.parse(result.text ?? result.content[0].text));
}
console.log(JSON.stringify({ tools, seen }));
await close();
process.exit(0);
