// A GraphQL server that introspects each token at the provider (RFC 7662), and requires a DPoP proof with its own nonce
// if the token is bound to a key (RFC 9449). Configured by the JSON file in the first argument. Prints the line
// "listening on URL". The calls below /control are for the test harness.

import { createServer } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GraphQLError, buildSchema } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/http';
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';

const TRANSACTIONS = 25;
const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const url = `http://127.0.0.1:${settings.port}/graphql`;
const ledger = { expired: 0, nonces_demanded: 0, aborted: 0, open: 0 };
const usedProofs = new Set();
let nonce = createNonce();

const schema = buildSchema(`
  type Query { viewer: Viewer!, slow(seconds: Int!): String! }
  type Viewer { subject: String!, overdraft: Int, transactions(first: Int!, after: String): TransactionConnection! }
  type TransactionConnection { nodes: [Transaction!]!, pageInfo: PageInfo! }
  type Transaction { id: ID!, amount: Int! }
  type PageInfo { hasNextPage: Boolean!, endCursor: String }
`);

const root = {
  viewer: (_, { token }) => ({
    subject: token.sub,
    overdraft: () => { throw new GraphQLError('this account has no overdraft', { extensions: { code: 'NO_OVERDRAFT' } }); },
    transactions: ({ first, after }) => paginate(first, after),
  }),
  slow: ({ seconds }, { disconnected }) => new Promise((resolve) => {
    const timer = setTimeout(() => resolve('done'), seconds * 1000);
    disconnected.then(() => { clearTimeout(timer); ledger.aborted += 1; resolve('aborted'); });
  }),
};

const handle = createHandler({ schema, rootValue: root, context: (request) => request.raw.graphqlContext });

createServer(async (request, response) => {
  if (request.url === '/control/ledger') return sendJson(response, 200, ledger);
  if (request.url === '/control/rotate-nonce') {
    nonce = createNonce();
    return sendJson(response, 200, {});
  }
  const { scheme, value } = /^(?<scheme>\S+) (?<value>\S+)$/.exec(request.headers.authorization ?? '')?.groups ?? {};
  const token = value ? await introspect(value) : { active: false };
  const thumbprint = token.cnf?.jkt;
  if (!token.active || scheme !== (thumbprint ? 'DPoP' : 'Bearer')) {
    ledger.expired += 1;
    return sendUnauthenticated(response, 'invalid_token');
  }
  if (thumbprint) {
    const error = await checkProof(request.headers.dpop ?? '', value, thumbprint);
    if (error === 'use_dpop_nonce') ledger.nonces_demanded += 1;
    if (error) return sendUnauthenticated(response, error);
  }
  ledger.open += 1;
  const disconnected = new Promise((resolve) => response.on('close', () => {
    ledger.open -= 1;
    if (!response.writableFinished) resolve();
  }));
  request.graphqlContext = { token, disconnected };
  await handle(request, response);
}).listen(settings.port, '127.0.0.1', () => console.log(`listening on ${url}`));

async function introspect(token) {
  const response = await fetch(`${settings.issuer}/token/introspection`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa(`resource:${settings.secret}`)}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ token }),
  });
  return response.json();
}

// Returns the error code of RFC 9449, or undefined if the proof is valid.
async function checkProof(proof, token, thumbprint) {
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] });
    const isValid = payload.htm === 'POST' && payload.htu === url
      && payload.ath === createHash('sha256').update(token).digest('base64url')
      && Math.abs(payload.iat - Date.now() / 1000) < 60 && !usedProofs.has(payload.jti)
      && (await calculateJwkThumbprint(protectedHeader.jwk)) === thumbprint;
    if (!isValid) return 'invalid_dpop_proof';
    if (payload.nonce !== nonce) return 'use_dpop_nonce';
    usedProofs.add(payload.jti);
    return undefined;
  } catch {
    return 'invalid_dpop_proof';
  }
}

function createNonce() {
  return randomBytes(9).toString('base64url');
}

function paginate(first, after) {
  const start = after ? Number(after) + 1 : 0;
  const ids = Array.from({ length: TRANSACTIONS }, (_, index) => index).slice(start, start + first);
  return {
    nodes: ids.map((id) => ({ id: `transaction-${id}`, amount: -id })),
    pageInfo: { hasNextPage: start + first < TRANSACTIONS, endCursor: ids.length ? String(ids.at(-1)) : null },
  };
}

function sendUnauthenticated(response, error) {
  const body = {
    errors: [{ message: 'UNAUTHENTICATED: Token is expired or malformed' }], extensions: { code: 'UNAUTHENTICATED' },
  };
  // Tokens of both kinds are accepted (RFC 9449, section 7.2), but a proof that is missing or wrong concerns DPoP alone.
  const bearer = error === 'invalid_token' ? `Bearer error="${error}", ` : '';
  const headers = { 'www-authenticate': `${bearer}DPoP algs="ES256", error="${error}"` };
  if (error === 'use_dpop_nonce') headers['dpop-nonce'] = nonce;
  sendJson(response, 401, body, headers);
}

function sendJson(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}
