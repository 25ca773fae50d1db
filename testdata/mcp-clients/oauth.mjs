// Signs in by OAuth as a host does that was given an address and nothing else: finds the authorization server, registers,
// and sends its user there. Prints {"authorize": URL} whenever the user has to go there, and reads from standard input the
// address at which the browser came back; at the end {"tools", "listed", "revoked", "asked", "scope"}. Argument: {sdk: 1|2, url}.
import { createInterface } from "node:readline";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as HTTP1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client as Client2, StreamableHTTPClientTransport as HTTP2 } from "@modelcontextprotocol/client";

const want = JSON.parse(process.argv[2]);
const [Client, HTTP] = want.sdk === 2 ? [Client2, HTTP2] : [Client1, HTTP1];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const redirectUrl = "http://127.0.0.1:1/callback";
const kept = {};
const host = {
  redirectUrl,
  clientMetadata: { client_name: "A host", redirect_uris: [redirectUrl], application_type: "native", token_endpoint_auth_method: "none", grant_types: ["authorization_code", "refresh_token"] },
  clientInformation: () => kept.client,
  saveClientInformation(client) { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens(tokens) { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier(verifier) { kept.verifier = verifier; },
  redirectToAuthorization(url) { console.log(JSON.stringify({ authorize: url.href })); },
};

const connect = async () => {
  const transport = new HTTP(new URL("/mcp", want.url), { authProvider: host });
  const client = new Client({ name: "A host", version: "1" }, want.sdk === 2 ? { versionNegotiation: { mode: "auto" } } : {});
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (error.constructor.name !== "UnauthorizedError") throw error;
    const back = new URL((await lines.next()).value).searchParams;
    await (want.sdk === 2 ? transport.finishAuth(back) : transport.finishAuth(back.get("code")));
    return connect();
  }
};

const client = await connect();
const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;
console.log(JSON.stringify({
  tools: (await client.listTools()).tools.length,
  listed: (await call("list_connections", {})).type,
  revoked: await call("revoke", { provider: "practice" }),
  asked: await call("request_auth", { provider: "practice" }),
  scope: kept.tokens.scope,
}));
process.exit(0);
