// A certified OpenID provider (npm oidc-provider), configured by the JSON file in the first argument.
// Prints the line "listening on URL". The calls below /control are for the test harness.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { MemoryAdapter } from './memory-adapter.mjs';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${settings.port}`;
const ledger = { refreshed: 0 };
const nonceSecret = randomBytes(32);
const cookieKeys = [randomBytes(24).toString('hex')];
let accessTokens = [];
let accessTokenLifetime = 3600; // seconds
let keyNumber = 0;
let provider;

await createProvider();
createServer(async (request, response) => {
  const control = controls[request.url];
  if (!control) return provider.callback()(request, response);
  let body = '';
  for await (const chunk of request) body += chunk;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(await control(body ? JSON.parse(body) : {})));
}).listen(settings.port, '127.0.0.1', () => console.log(`listening on ${issuer}`));

const controls = {
  '/control/ledger': () => ledger,
  '/control/lifetime': ({ seconds }) => { accessTokenLifetime = seconds; return {}; },
  // Signs with a new key from now on; the old key is no longer published.
  '/control/rotate-signing-key': async () => { await createProvider(); return {}; },
  '/control/expire-access-tokens': async () => {
    await Promise.all(accessTokens.splice(0).map((token) => token.destroy()));
    return {};
  },
};

// The keys of a Provider cannot be changed, so a new key needs a new Provider. Issued tokens stay in the adapter.
async function createProvider() {
  const algorithm = settings.fapi ? 'PS256' : 'RS256';
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  keyNumber += 1;
  provider = new Provider(issuer, {
    adapter: MemoryAdapter,
    clients: settings.clients.map((client) => ({ id_token_signed_response_alg: algorithm, ...client })),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: `key-${keyNumber}`, alg: algorithm, use: 'sig' }] },
    scopes: ['openid', 'offline_access', 'accounts', 'balances', 'transactions'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    cookies: { keys: cookieKeys },
    ttl: {
      AccessToken: () => accessTokenLifetime, Grant: 86400, IdToken: 300, Interaction: 600, RefreshToken: 86400, Session: 600,
    },
    ...(settings.fapi && { enabledJWA: { clientAuthSigningAlgValues: ['PS256', 'ES256'] } }),
    features: {
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === 'resource' },
      revocation: { enabled: true },
      pushedAuthorizationRequests: { enabled: settings.fapi, requirePushedAuthorizationRequests: settings.fapi },
      dPoP: { enabled: settings.fapi, nonceSecret, requireNonce: () => true },
      fapi: { enabled: settings.fapi, profile: '2.0' },
    },
  });
  provider.on('access_token.saved', (token) => accessTokens.push(token));
  provider.on('grant.success', (ctx) => {
    if (ctx.oidc.params.grant_type === 'refresh_token') ledger.refreshed += 1;
  });
}
