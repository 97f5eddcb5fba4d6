"""gql, the Python client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gql import Client, GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

from interop.report import Failed, expect
from interop.steps import SUBJECT

_PATIENCE = 0.7
_PAGE = """query Page($first: Int!, $after: String) {
  viewer { transactions(first: $first, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }
}"""
_VIEWER = "{ viewer { subject } }"


@asynccontextmanager
async def open_session(url: str, headers: Mapping[str, str]) -> AsyncIterator[AsyncClientSession]:
    """Open a session as gql's documentation has it."""
    async with Client(transport=AIOHTTPTransport(url=url, headers=dict(headers))) as session:
        yield session


async def query(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """Without variables."""
    found = await session.execute(GraphQLRequest(_VIEWER))
    expect(found == {"viewer": {"subject": SUBJECT}}, f"gql was answered {found}")


async def variables(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """With variables."""
    nodes = (await _page(session, 3, None))["nodes"]
    expect(len(nodes) == 3, f"gql was answered with {len(nodes)} nodes")


async def pages(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """All pages of a connection."""
    seen: list[str] = []
    after, has_more = None, True
    while has_more:
        page = await _page(session, 10, after)
        seen += [node["id"] for node in page["nodes"]]
        after, has_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    expect(len(seen) == len(set(seen)) == 25, f"gql saw {seen}")


async def errors(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """The bank's error beside partial data."""
    error = await _refused(session, "{ viewer { subject overdraft } }")
    expect(_code(error) == "NO_OVERDRAFT", f"gql was told {error.errors}")
    expect(error.data == {"viewer": {"subject": SUBJECT, "overdraft": None}}, f"gql was answered {error.data}")


async def refusals(_: AsyncClientSession, elsewhere: AsyncClientSession) -> None:
    """The broker's own error."""
    error = await _refused(elsewhere, _VIEWER)
    expect(_code(error) == "CONNECTION_NOT_FOUND", f"gql was told {error.errors}")


async def abort(session: AsyncClientSession, _: AsyncClientSession) -> None:
    """A query that its caller gives up."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await session.execute(GraphQLRequest("{ slow(seconds: 30) }"))
    except TimeoutError:
        return
    raise Failed("gql was answered all the same")


STEPS: dict[str, Callable[[AsyncClientSession, AsyncClientSession], Awaitable[None]]] = {
    one.__name__: one for one in (query, variables, pages, errors, refusals, abort)
}


async def _page(session: AsyncClientSession, first: int, after: str | None) -> dict[str, Any]:
    found = await session.execute(GraphQLRequest(_PAGE, variable_values={"first": first, "after": after}))
    page: dict[str, Any] = found["viewer"]["transactions"]
    return page


async def _refused(session: AsyncClientSession, text: str) -> TransportQueryError:
    try:
        found = await session.execute(GraphQLRequest(text))
    except TransportQueryError as error:
        return error
    raise Failed(f"gql was answered {found}")


def _code(error: TransportQueryError) -> str | None:
    return error.errors[0]["extensions"]["code"] if error.errors else None
