// The audit of GraphQL over HTTP that graphql-http brings, at one address. Prints a line of JSON for each of its checks.

import { serverAudits } from 'graphql-http';

const [, , url, authorization] = process.argv;

for (const id of serverAudits({ url, fetchFn: fetch }).map((audit) => audit.id)) {
  let usesGet = false;
  const fetchFn = (address, options = {}) => {
    usesGet ||= (options.method ?? 'GET') === 'GET';
    return fetch(address, { ...options, headers: { ...options.headers, authorization } });
  };
  const audit = serverAudits({ url, fetchFn }).find((one) => one.id === id);
  const { name, status, reason } = await audit.fn();
  console.log(JSON.stringify({ id, name, status, reason, usesGet }));
}
