// A bare proxy as a Node team would write it: one hashed key is checked, a token is put in, everything passes.
'use strict';

const { createHash } = require('node:crypto');

const digest = (text) => createHash('sha256').update(text).digest('hex');
const expected = digest(process.env.PEER_KEY);
const app = require('fastify')();

app.register(require('@fastify/http-proxy'), {
  upstream: process.env.PEER_UPSTREAM,
  prefix: '/graphql',
  rewritePrefix: '/graphql',
  undici: { connections: 256, pipelining: 1 },
  preHandler: (request, reply, done) => {
    const key = (request.headers.authorization || '').slice('Bearer '.length);
    if (digest(key) !== expected) {
      reply.code(401).send({});
      return;
    }
    done();
  },
  replyOptions: {
    rewriteRequestHeaders: (_request, headers) => ({ ...headers, authorization: 'Bearer a-token' }),
  },
});

app.listen({ port: Number(process.env.PEER_PORT) });
