"""A query to the bank with the connection's token, and its answer as it comes.

A refused token is replaced once and the query repeated, mutations too: what was refused was not run. Nothing else is
sent twice once it may have been sent; only a connection that could not be opened is tried again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache

import aiohttp
from prometheus_client import Counter
from yarl import URL

from app.errors import BankError, BankTimeout
from app.metrics import QUERIES
from app.proxies import proxy_for
from app.services.expiry import LONGEST_REFUSAL, is_refusal, may_be_refusal
from app.services.tokens import Tokens, UsableToken

_READ_BUFFER = 131_072


class BankAnswer:
    """An answer under way: its head, what of its body was read already, and the rest. To be closed by its owner."""

    __slots__ = ("_response", "beginning", "is_whole", "token_version")

    def __init__(self, response: aiohttp.ClientResponse, token_version: int) -> None:
        self._response = response
        self.token_version = token_version
        self.beginning = b""
        self.is_whole = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""
        return self._response.headers

    async def refuses_token(self) -> bool:
        """Tell whether the bank calls the token expired; reads no more than the beginning of the body."""
        headers = self.headers
        if may_be_refusal(self.status, headers.get("content-type", ""), self._response.content_length):
            await self._read_beginning()
            return self.is_whole and is_refusal(self.beginning, headers.get("content-encoding", ""))
        return self.status == 401

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

    def close(self) -> None:
        """Give the connection back, or end it where the answer was not read to its end."""
        self._response.release()

    async def _read_beginning(self) -> None:
        """Read until the end, or until it is too long for a refusal."""
        content = self._response.content
        while len(self.beginning) <= LONGEST_REFUSAL:
            chunk = await content.readany()
            if not chunk:
                self.is_whole = True
                return
            self.beginning += chunk


class QueryProxy:
    """Sends queries to the one GraphQL address of the settings."""

    def __init__(self, session: aiohttp.ClientSession, tokens: Tokens, *, graphql_url: str) -> None:
        self._session = session
        self._tokens = tokens
        self._url = URL(graphql_url)
        self._proxy = proxy_for(graphql_url)

    async def send(self, tenant: str, connection_id: str, headers: dict[str, str], body: bytes) -> BankAnswer:
        """Send a query and return the answer. `headers` go on as they are, beside the token.

        Raises what `Tokens.usable` raises, and BankError or BankTimeout.
        """
        token = await self._tokens.usable(tenant, connection_id)
        answer, refused = await self._ask(token, headers, body)
        if not refused:
            return answer
        try:
            successor = await self._tokens.instead_of(tenant, token)
        except BaseException:
            answer.close()
            raise
        if successor is None:
            return answer
        answer.close()
        answer, _ = await self._ask(successor, headers, body)
        return answer

    async def _ask(self, token: UsableToken, headers: dict[str, str], body: bytes) -> tuple[BankAnswer, bool]:
        """Send once. Returns the answer, and whether it refuses the token."""
        headers["authorization"] = f"Bearer {token.access_token.get_secret_value()}"
        try:
            try:
                response = await self._post(headers, body)
            except aiohttp.ClientConnectorError:
                # Never sent, so it may be tried again: the address may have moved to a server that is there.
                response = await self._post(headers, body)
            answer = BankAnswer(response, token.version)
            refused = await _close_on_error(answer)
        except aiohttp.ConnectionTimeoutError as error:
            raise BankTimeout("no connection to the bank could be opened in time") from error
        except TimeoutError as error:
            raise BankTimeout("the bank did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BankError("the bank cannot be reached, or broke off") from error
        _counter(response.status).inc()
        return answer, refused

    async def _post(self, headers: dict[str, str], body: bytes) -> aiohttp.ClientResponse:
        return await self._session.post(self._url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy)


@asynccontextmanager
async def query_session(*, patience: float, concurrency: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the pool of connections for queries. `patience` seconds without a byte from the bank end a query."""
    connector = aiohttp.TCPConnector(limit=concurrency, ttl_dns_cache=30, keepalive_timeout=15)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER,
        skip_auto_headers=("user-agent", "accept", "accept-encoding"),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=patience),
    ) as session:
        yield session


async def _close_on_error(answer: BankAnswer) -> bool:
    try:
        return await answer.refuses_token()
    except BaseException:
        answer.close()
        raise


@lru_cache(maxsize=1_000)
def _counter(status: int) -> Counter:
    return QUERIES.labels(status=status)
