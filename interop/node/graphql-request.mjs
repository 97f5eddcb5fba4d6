import assert from 'node:assert/strict';
import { ClientError, GraphQLClient } from 'graphql-request';
import { OVERDRAFT, PAGE, SLOW, VIEWER, aborted, hasCode, isSubject, pages, play, told } from './steps.mjs';

const client = new GraphQLClient(told.url, { headers: told.headers });

async function refused(promise) {
  const error = await promise.then(() => assert.fail('it was answered'), (problem) => problem);
  assert.ok(error instanceof ClientError, `${error}`);
  return error.response;
}

await play({
  query: async () => isSubject(await client.request(VIEWER)),
  variables: async () => {
    const { viewer } = await client.request(PAGE, { first: 3 });
    assert.equal(viewer.transactions.nodes.length, 3);
  },
  pages: () => pages((variables) => client.request(PAGE, variables)),
  errors: async () => {
    const response = await refused(client.request(OVERDRAFT));
    hasCode(response.errors, 'NO_OVERDRAFT');
    isSubject(response.data);
  },
  refusals: async () => {
    const elsewhere = new GraphQLClient(told.unknown, { headers: told.headers });
    hasCode((await refused(elsewhere.request(VIEWER))).errors, 'CONNECTION_NOT_FOUND');
  },
  abort: () => aborted((signal) => client.request({ document: SLOW, variables: { seconds: 30 }, signal })),
});
