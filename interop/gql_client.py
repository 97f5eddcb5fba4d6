"""The Python GraphQL client gql, and the steps that every client runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gql import Client, GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

from interop.report import CheckFailed, expect
from interop.steps import SUBJECT

_ABORT_AFTER_SECONDS = 0.7
_PAGE_QUERY = """query Page($first: Int!, $after: String) {
  viewer { transactions(first: $first, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }
}"""
_VIEWER_QUERY = "{ viewer { subject } }"


@asynccontextmanager
async def open_session(url: str, headers: Mapping[str, str]) -> AsyncIterator[AsyncClientSession]:
    """Open a session as shown in gql's documentation."""
    async with Client(transport=AIOHTTPTransport(url=url, headers=dict(headers))) as session:
        yield session


async def query(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """A query without variables returns data."""
    data = await session.execute(GraphQLRequest(_VIEWER_QUERY))
    expect(data == {"viewer": {"subject": SUBJECT}}, f"gql received {data}")


async def variables(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """A query with variables returns data."""
    nodes = (await _fetch_page(session, 3, None))["nodes"]
    expect(len(nodes) == 3, f"gql received {len(nodes)} nodes")


async def pagination(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """Following the cursors returns every node once."""
    ids: list[str] = []
    after, has_more = None, True
    while has_more:
        page = await _fetch_page(session, 10, after)
        ids += [node["id"] for node in page["nodes"]]
        after, has_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    expect(len(ids) == len(set(ids)) == 25, f"gql received {ids}")


async def partial_errors(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """An error of the bank arrives next to partial data."""
    error = await _expect_query_error(session, "{ viewer { subject overdraft } }")
    expect(_error_code(error) == "NO_OVERDRAFT", f"gql received the errors {error.errors}")
    expect(error.data == {"viewer": {"subject": SUBJECT, "overdraft": None}}, f"gql received {error.data}")


async def broker_errors(_: AsyncClientSession, unknown_session: AsyncClientSession) -> None:
    """An error of the broker arrives as a GraphQL error."""
    error = await _expect_query_error(unknown_session, _VIEWER_QUERY)
    expect(_error_code(error) == "CONNECTION_NOT_FOUND", f"gql received the errors {error.errors}")


async def abort(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """A query can be aborted."""
    try:
        async with asyncio.timeout(_ABORT_AFTER_SECONDS):
            await session.execute(GraphQLRequest("{ slow(seconds: 30) }"))
    except TimeoutError:
        return
    raise CheckFailed("gql received a response to the aborted query")


# By name. Each step takes a session for a connection, and one for a connection that does not exist.
STEPS: dict[str, Callable[[AsyncClientSession, AsyncClientSession], Awaitable[None]]] = {
    step.__name__: step for step in (query, variables, pagination, partial_errors, broker_errors, abort)
}


async def _fetch_page(session: AsyncClientSession, first: int, after: str | None) -> dict[str, Any]:
    data = await session.execute(GraphQLRequest(_PAGE_QUERY, variable_values={"first": first, "after": after}))
    page: dict[str, Any] = data["viewer"]["transactions"]
    return page


async def _expect_query_error(session: AsyncClientSession, text: str) -> TransportQueryError:
    try:
        data = await session.execute(GraphQLRequest(text))
    except TransportQueryError as error:
        return error
    raise CheckFailed(f"gql received {data} instead of an error")


def _error_code(error: TransportQueryError) -> str | None:
    return error.errors[0]["extensions"]["code"] if error.errors else None
