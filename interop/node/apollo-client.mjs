import assert from 'node:assert/strict';
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import {
  OVERDRAFT, PAGE, SLOW, VIEWER, assertAborts, assertErrorCode, assertPagination, assertSubject, options, runSteps,
} from './client-steps.mjs';

const createClient = (uri) => new ApolloClient({
  link: new HttpLink({ uri, headers: options.headers }),
  cache: new InMemoryCache(),
  defaultOptions: { query: { fetchPolicy: 'no-cache' } },
});
const client = createClient(options.url);
const request = async (query, variables) => (await client.query({ query: gql(query), variables })).data;

await runSteps({
  query: async () => assertSubject(await request(VIEWER)),
  variables: async () => {
    const { viewer } = await request(PAGE, { first: 3 });
    assert.equal(viewer.transactions.nodes.length, 3);
  },
  pagination: () => assertPagination((variables) => request(PAGE, variables)),
  partial_errors: async () => {
    const { data, error } = await client.query({ query: gql(OVERDRAFT), errorPolicy: 'all' });
    assert.ok(CombinedGraphQLErrors.is(error), `${error}`);
    assertErrorCode(error.errors, 'NO_OVERDRAFT');
    assertSubject(data);
  },
  broker_errors: async () => {
    const { error } = await createClient(options.unknownUrl).query({ query: gql(VIEWER), errorPolicy: 'all' });
    assert.ok(CombinedGraphQLErrors.is(error), `${error}`);
    assertErrorCode(error.errors, 'CONNECTION_NOT_FOUND');
  },
  abort: () => assertAborts((signal) => client.query({
    query: gql(SLOW), variables: { seconds: 30 }, context: { fetchOptions: { signal } },
  })),
});
