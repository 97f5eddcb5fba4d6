// A GraphQL server that asks the provider about each token (RFC 7662), and wants a proof for those that are bound to a
// key (RFC 9449, with a nonce of its own). Prints the line "listening on ADDRESS".

import { createServer } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GraphQLError, buildSchema } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/http';
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose';

const wanted = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const address = `http://127.0.0.1:${wanted.port}`;
const ledger = { answered: 0, expired: 0, nonces_demanded: 0, proofs: 0, aborted: 0, open: 0 };
const spent = new Set();
let nonces = [randomBytes(9).toString('base64url')];

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
    overdraft: () => { throw new GraphQLError('this account has none', { extensions: { code: 'NO_OVERDRAFT' } }); },
    transactions: ({ first, after }) => page(first, after),
  }),
  slow: ({ seconds }, { gone }) => new Promise((resolve) => {
    const timer = setTimeout(() => resolve('done'), seconds * 1000);
    gone.then(() => { clearTimeout(timer); ledger.aborted += 1; resolve('nobody'); });
  }),
};

const handle = createHandler({ schema, rootValue: root, context: (request) => request.raw.asked });

createServer(async (request, response) => {
  if (request.url === '/control/ledger') return json(response, 200, ledger);
  if (request.url === '/control/rotate-nonce') { nonces = [randomBytes(9).toString('base64url')]; return json(response, 200, {}); }
  const refusal = (code, headers = {}) => json(response, 401, {
    errors: [{ message: 'UNAUTHENTICATED: Token is expired or malformed' }], extensions: { code: 'UNAUTHENTICATED' },
  }, { 'www-authenticate': `DPoP algs="ES256", error="${code}"`, ...headers });
  const { scheme, value } = /^(?<scheme>\S+) (?<value>\S+)$/.exec(request.headers.authorization ?? '')?.groups ?? {};
  const token = value ? await introspect(value) : { active: false };
  const bound = token.cnf?.jkt;
  if (!token.active || scheme !== (bound ? 'DPoP' : 'Bearer')) { ledger.expired += 1; return refusal('invalid_token'); }
  if (bound) {
    const problem = await checkProof(request.headers.dpop ?? '', value, bound);
    if (problem === 'use_dpop_nonce') { ledger.nonces_demanded += 1; return refusal(problem, { 'dpop-nonce': nonces[0] }); }
    if (problem) return refusal(problem);
    ledger.proofs += 1;
  }
  ledger.answered += 1;
  ledger.open += 1;
  const gone = new Promise((resolve) => response.on('close', () => {
    ledger.open -= 1;
    if (!response.writableFinished) resolve();
  }));
  request.asked = { token, gone };
  await handle(request, response);
}).listen(wanted.port, '127.0.0.1', () => console.log(`listening on ${address}/graphql`));

async function introspect(token) {
  const answer = await fetch(`${wanted.issuer}/token/introspection`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa(`resource:${wanted.secret}`)}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ token }),
  });
  return answer.json();
}

async function checkProof(proof, token, thumbprint) {
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] });
    const fits = payload.htm === 'POST' && payload.htu === `${address}/graphql`
      && payload.ath === createHash('sha256').update(token).digest('base64url')
      && Math.abs(payload.iat - Date.now() / 1000) < 60 && !spent.has(payload.jti)
      && (await calculateJwkThumbprint(protectedHeader.jwk)) === thumbprint;
    if (!fits) return 'invalid_dpop_proof';
    if (!nonces.includes(payload.nonce)) return 'use_dpop_nonce';
    spent.add(payload.jti);
    return undefined;
  } catch {
    return 'invalid_dpop_proof';
  }
}

function page(first, after) {
  const start = after ? Number(after) + 1 : 0;
  const ids = Array.from({ length: 25 }, (_, index) => index).slice(start, start + first);
  return {
    nodes: ids.map((id) => ({ id: `transaction-${id}`, amount: -id })),
    pageInfo: { hasNextPage: start + first < 25, endCursor: ids.length ? String(ids.at(-1)) : null },
  };
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}
