// Runs oidc-provider for a Go test. The first line of standard input is the
// configuration as JSON; the first line of standard output is {"issuer": URL}. It
// ends when standard input is closed, so it cannot outlive the test.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider, { errors } from 'oidc-provider';
import { answerInteraction } from './interaction.mjs';
import { Faults } from './faults.mjs';

const lines = createInterface({ input: process.stdin });
lines.on('close', () => process.exit(0));
const { clients, accessTokenSeconds, refreshTokenSeconds, deviceSeconds } =
  JSON.parse((await lines[Symbol.asyncIterator]().next()).value);

const ours = ['connect', 'use', 'release', 'revoke'].map((scope) => `latchpost:${scope}`);
const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        if (!resource.startsWith('https://') && !resource.startsWith('http://127.0.0.1:')) throw new errors.InvalidTarget();
        return { scope: ['repo', ...ours].join(' '), audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };
      },
      useGrantedResource: () => true,
    },
  },
  claims: { openid: ['sub'], email: ['email'], profile: ['preferred_username'] },
  scopes: ['openid', 'offline_access', 'repo', ...ours], // those that a client may register with
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, preferred_username: id }),
  }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: {
    AccessToken: accessTokenSeconds,
    ClientCredentials: accessTokenSeconds,
    RefreshToken: refreshTokenSeconds,
    DeviceCode: deviceSeconds,
    Grant: 86400, IdToken: 3600, Interaction: 3600, Session: 86400,
  },
  cookies: { keys: ['only-for-tests'] },
});

const faults = new Faults();
const honest = provider.callback();
server.on('request', (request, response) => {
  const { pathname } = new URL(request.url, issuer);
  if (pathname === '/test/fault') return faults.program(request, response);
  if (faults.answers(pathname, request, response, honest)) return undefined;
  if (pathname.startsWith('/interaction/')) return answerInteraction(provider, request, response);
  return honest(request, response);
});
console.log(JSON.stringify({ issuer }));
