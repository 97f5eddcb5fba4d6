// Runs the steps of a client. Prints "ok NAME" or "FAIL NAME: REASON" for each; the exit status is 1 after a failure.

import assert from 'node:assert/strict';

const [, , url, key, subject, unknownUrl] = process.argv;
const TRANSACTIONS = 25;

export const options = { url, unknownUrl, headers: { authorization: `Bearer ${key}` } };
export const VIEWER = 'query Viewer { viewer { subject } }';
export const OVERDRAFT = 'query Overdraft { viewer { subject overdraft } }';
export const SLOW = 'query Slow($seconds: Int!) { slow(seconds: $seconds) }';
export const PAGE = `query Page($first: Int!, $after: String) {
  viewer { transactions(first: $first, after: $after) { nodes { id amount } pageInfo { hasNextPage endCursor } } }
}`;

export async function runSteps(steps) {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAIL ${name}: ${error.stack}`);
      process.exitCode = 1;
    }
  }
}

export function assertSubject(data) {
  assert.equal(data.viewer.subject, subject);
}

// Follows the cursors to the end, and checks that each transaction was returned once.
export async function assertPagination(fetchPage) {
  const ids = [];
  for (let after = null, hasMore = true; hasMore;) {
    const { nodes, pageInfo } = (await fetchPage({ first: 10, after })).viewer.transactions;
    ids.push(...nodes.map((node) => node.id));
    ({ endCursor: after, hasNextPage: hasMore } = pageInfo);
  }
  assert.equal(ids.length, TRANSACTIONS);
  assert.equal(new Set(ids).size, TRANSACTIONS);
}

export function assertErrorCode(errors, code) {
  assert.equal(errors?.[0]?.extensions?.code, code);
}

// Aborts a query after a while, and checks that it ends with an abort error.
export async function assertAborts(start) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 700);
  await assert.rejects(start(controller.signal), (error) => /abort/i.test(`${error.name} ${error.message}`));
}
