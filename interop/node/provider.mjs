// A certified OpenID provider (npm oidc-provider), told by a JSON file what it is to be strict about.
// Prints the line "listening on ADDRESS". The control calls below /control are for the harness alone.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { Memory } from './memory.mjs';

const wanted = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${wanted.port}`;
const ledger = { refreshed: 0, refused: {}, pushed: 0, signing_key: 0 };
const nonceSecret = randomBytes(32);
const cookieKeys = [randomBytes(24).toString('hex')];
let accessTokens = [];
let accessTokenSeconds = 3600;
let current;

await start();
createServer(async (request, response) => {
  const answer = controls[request.url];
  if (!answer) return current.callback()(request, response);
  let body = '';
  for await (const chunk of request) body += chunk;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(await answer(body ? JSON.parse(body) : {})));
}).listen(wanted.port, '127.0.0.1', () => console.log(`listening on ${issuer}`));

const controls = {
  '/control/ledger': () => ledger,
  '/control/lifetime': ({ seconds }) => { accessTokenSeconds = seconds; return {}; },
  // A new key signs from now on, and the old one is published no more.
  '/control/rotate-signing-key': async () => { await start(); return {}; },
  '/control/expire-access-tokens': async () => {
    await Promise.all(accessTokens.splice(0).map((token) => token.destroy()));
    return {};
  },
};

// The keys of a Provider are fixed, so that a new key takes a new one; what was issued before stays.
async function start() {
  const algorithm = wanted.fapi ? 'PS256' : 'RS256';
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  ledger.signing_key += 1;
  current = new Provider(issuer, {
    adapter: Memory,
    clients: wanted.clients.map((client) => ({ id_token_signed_response_alg: algorithm, ...client })),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: `key-${ledger.signing_key}`, alg: algorithm, use: 'sig' }] },
    scopes: ['openid', 'offline_access', 'accounts', 'balances', 'transactions'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    cookies: { keys: cookieKeys },
    ttl: { AccessToken: () => accessTokenSeconds, Grant: 86400, IdToken: 300, Interaction: 600, RefreshToken: 86400, Session: 600 },
    ...(wanted.fapi && { enabledJWA: { clientAuthSigningAlgValues: ['PS256', 'ES256'] } }),
    features: {
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === 'resource' },
      revocation: { enabled: true },
      pushedAuthorizationRequests: { enabled: wanted.fapi, requirePushedAuthorizationRequests: wanted.fapi },
      dPoP: { enabled: wanted.fapi, nonceSecret, requireNonce: () => true },
      fapi: { enabled: wanted.fapi, profile: '2.0' },
    },
  });
  current.on('access_token.saved', (token) => accessTokens.push(token));
  current.on('pushed_authorization_request.success', () => { ledger.pushed += 1; });
  current.on('grant.success', (ctx) => {
    if (ctx.oidc.params.grant_type === 'refresh_token') ledger.refreshed += 1;
  });
  current.on('grant.error', (_, error) => { ledger.refused[error.message] = (ledger.refused[error.message] ?? 0) + 1; });
}
