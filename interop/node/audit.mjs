// Runs the GraphQL-over-HTTP audit of graphql-http against one URL. Prints one line of JSON for each check.

import { serverAudits } from 'graphql-http';

const [, , url, authorization] = process.argv;

for (const id of serverAudits({ url, fetchFn: fetch }).map((audit) => audit.id)) {
  let usesGet = false;
  const fetchFn = (target, options = {}) => {
    usesGet ||= (options.method ?? 'GET') === 'GET';
    return fetch(target, { ...options, headers: { ...options.headers, authorization } });
  };
  const audit = serverAudits({ url, fetchFn }).find((candidate) => candidate.id === id);
  const { name, status, reason } = await audit.fn();
  console.log(JSON.stringify({ id, name, status, reason, usesGet }));
}
