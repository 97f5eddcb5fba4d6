import assert from 'node:assert/strict';
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { OVERDRAFT, PAGE, SLOW, VIEWER, aborted, hasCode, isSubject, pages, play, told } from './steps.mjs';

const clientOf = (uri) => new ApolloClient({
  link: new HttpLink({ uri, headers: told.headers }),
  cache: new InMemoryCache(),
  defaultOptions: { query: { fetchPolicy: 'no-cache' } },
});
const client = clientOf(told.url);
const ask = async (query, variables) => (await client.query({ query: gql(query), variables })).data;

await play({
  query: async () => isSubject(await ask(VIEWER)),
  variables: async () => {
    const { viewer } = await ask(PAGE, { first: 3 });
    assert.equal(viewer.transactions.nodes.length, 3);
  },
  pages: () => pages((variables) => ask(PAGE, variables)),
  errors: async () => {
    const { data, error } = await client.query({ query: gql(OVERDRAFT), errorPolicy: 'all' });
    assert.ok(CombinedGraphQLErrors.is(error), `${error}`);
    hasCode(error.errors, 'NO_OVERDRAFT');
    isSubject(data);
  },
  refusals: async () => {
    const { error } = await clientOf(told.unknown).query({ query: gql(VIEWER), errorPolicy: 'all' });
    assert.ok(CombinedGraphQLErrors.is(error), `${error}`);
    hasCode(error.errors, 'CONNECTION_NOT_FOUND');
  },
  abort: () => aborted((signal) => client.query({
    query: gql(SLOW), variables: { seconds: 30 }, context: { fetchOptions: { signal } },
  })),
});
