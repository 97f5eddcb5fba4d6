// What each client does, told one line a step: "ok NAME", or "FAIL NAME: why" and a status that is not 0.

import assert from 'node:assert/strict';

const [, , url, key, subject, unknown] = process.argv;

export const told = { url, unknown, headers: { authorization: `Bearer ${key}` } };
export const ALL = 25;
export const VIEWER = 'query Viewer { viewer { subject } }';
export const OVERDRAFT = 'query Overdraft { viewer { subject overdraft } }';
export const SLOW = 'query Slow($seconds: Int!) { slow(seconds: $seconds) }';
export const PAGE = `query Page($first: Int!, $after: String) {
  viewer { transactions(first: $first, after: $after) { nodes { id amount } pageInfo { hasNextPage endCursor } } }
}`;

export async function play(steps) {
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

export function isSubject(data) {
  assert.equal(data.viewer.subject, subject);
}

// Follow the cursors to the end, and see each transaction once.
export async function pages(fetchPage) {
  const seen = [];
  for (let after = null, more = true; more;) {
    const { nodes, pageInfo } = (await fetchPage({ first: 10, after })).viewer.transactions;
    seen.push(...nodes.map((node) => node.id));
    ({ endCursor: after, hasNextPage: more } = pageInfo);
  }
  assert.equal(seen.length, ALL);
  assert.equal(new Set(seen).size, ALL);
}

export function hasCode(errors, code) {
  assert.equal(errors?.[0]?.extensions?.code, code);
}

// Give a query so long, and expect it to end because its caller does not want it any more.
export async function aborted(start) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 700);
  await assert.rejects(start(controller.signal), (error) => /abort/i.test(`${error.name} ${error.message}`));
}
