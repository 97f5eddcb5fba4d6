"""A query to the bank with the connection's token, and its answer as it comes.

A refused token is replaced once and the query repeated, mutations too: what was refused was not run. Nothing else is
sent twice once it may have been sent; only a connection that could not be opened is tried again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from app.errors import BankError, BankTimeout
from app.metrics import QUERIES
from app.services.expiry import LONGEST_REFUSAL, is_refusal, may_be_refusal
from app.services.tokens import Tokens, UsableToken

_READ_BUFFER = 131_072


@dataclass(frozen=True, slots=True)
class BankAnswer:
    """An answer under way: its head, what of its body was read already, and the rest."""

    status: int
    headers: Mapping[str, str]
    token_version: int
    is_whole: bool
    beginning: bytes = field(repr=False)
    _response: aiohttp.ClientResponse = field(repr=False)

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as the bank sent it, compressed or not. Raises BankError where it breaks off."""
        if self.beginning:
            yield self.beginning
        if self.is_whole:
            return
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BankError("the bank's answer broke off", code="bank_answer_broken") from error


class QueryProxy:
    """Sends queries to the one GraphQL address of the settings."""

    def __init__(self, session: aiohttp.ClientSession, tokens: Tokens, *, graphql_url: str) -> None:
        self._session = session
        self._tokens = tokens
        self._graphql_url = graphql_url

    @asynccontextmanager
    async def send(
        self, tenant: str, connection_id: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[BankAnswer]:
        """Send a query and give the answer. `headers` go on as they are, beside the token.

        Raises what `Tokens.usable` raises, and BankError or BankTimeout.
        """
        token = await self._tokens.usable(tenant, connection_id)
        async with AsyncExitStack() as first:
            answer, refused = await self._ask(first, token, headers, body)
            successor = await self._tokens.instead_of(tenant, token) if refused else None
            if successor is None:
                yield answer
                return
        async with AsyncExitStack() as second:
            answer, _ = await self._ask(second, successor, headers, body)
            yield answer

    async def _ask(
        self, stack: AsyncExitStack, token: UsableToken, headers: Mapping[str, str], body: bytes
    ) -> tuple[BankAnswer, bool]:
        """Send once. Returns the answer, and whether it refuses the token."""
        authorized = {**headers, "authorization": f"Bearer {token.access_token.get_secret_value()}"}
        try:
            response = await self._open(stack, authorized, body)
            beginning, whole = b"", False
            refused = response.status == 401
            if may_be_refusal(response.status, response.headers.get("content-type", ""), response.content_length):
                beginning, whole = await _read_beginning(response.content)
                refused = whole and is_refusal(beginning, response.headers.get("content-encoding", ""))
        except aiohttp.ConnectionTimeoutError as error:
            raise BankTimeout("no connection to the bank could be opened in time") from error
        except TimeoutError as error:
            raise BankTimeout("the bank did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BankError("the bank cannot be reached, or broke off") from error
        QUERIES.labels(status=response.status).inc()
        return BankAnswer(response.status, response.headers, token.version, whole, beginning, response), refused

    async def _open(self, stack: AsyncExitStack, headers: Mapping[str, str], body: bytes) -> aiohttp.ClientResponse:
        def request() -> aiohttp.client._RequestContextManager:
            return self._session.post(self._graphql_url, data=body, headers=headers, allow_redirects=False)

        try:
            return await stack.enter_async_context(request())
        except aiohttp.ClientConnectorError:
            # Never sent, so it may be tried again: the address may have moved to a server that is there.
            return await stack.enter_async_context(request())


@asynccontextmanager
async def query_session(*, patience: float, concurrency: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the pool of connections for queries. `patience` seconds without a byte from the bank end a query."""
    connector = aiohttp.TCPConnector(limit=concurrency, ttl_dns_cache=30, keepalive_timeout=15)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=True,
        read_bufsize=_READ_BUFFER,
        skip_auto_headers=("user-agent", "accept", "accept-encoding"),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=patience),
    ) as session:
        yield session


async def _read_beginning(content: aiohttp.StreamReader) -> tuple[bytes, bool]:
    """Read until the end or until it is too long for a refusal. Returns what was read, and whether it is all."""
    beginning = bytearray()
    while len(beginning) <= LONGEST_REFUSAL:
        chunk = await content.readany()
        if not chunk:
            return bytes(beginning), True
        beginning += chunk
    return bytes(beginning), False
