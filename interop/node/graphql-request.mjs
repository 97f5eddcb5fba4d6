import assert from 'node:assert/strict';
import { ClientError, GraphQLClient } from 'graphql-request';
import {
  OVERDRAFT, PAGE, SLOW, VIEWER, assertAborts, assertErrorCode, assertPagination, assertSubject, options, runSteps,
} from './client-steps.mjs';

const client = new GraphQLClient(options.url, { headers: options.headers });

async function expectError(promise) {
  const error = await promise.then(() => assert.fail('there was no error'), (reason) => reason);
  assert.ok(error instanceof ClientError, `${error}`);
  return error.response;
}

await runSteps({
  query: async () => assertSubject(await client.request(VIEWER)),
  variables: async () => {
    const { viewer } = await client.request(PAGE, { first: 3 });
    assert.equal(viewer.transactions.nodes.length, 3);
  },
  pagination: () => assertPagination((variables) => client.request(PAGE, variables)),
  partial_errors: async () => {
    const response = await expectError(client.request(OVERDRAFT));
    assertErrorCode(response.errors, 'NO_OVERDRAFT');
    assertSubject(response.data);
  },
  broker_errors: async () => {
    const unknown = new GraphQLClient(options.unknownUrl, { headers: options.headers });
    assertErrorCode((await expectError(unknown.request(VIEWER))).errors, 'CONNECTION_NOT_FOUND');
  },
  abort: () => assertAborts((signal) => client.request({ document: SLOW, variables: { seconds: 30 }, signal })),
});
