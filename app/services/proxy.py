"""A query to the bank with the connection's token, and its answer as it comes.

A refused token is replaced once and the query repeated, mutations too: what was refused was not run. Nothing else is
sent twice once it may have been sent; only a connection that could not be opened is tried again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

from prometheus_client import Counter

from app.errors import BankError, BankTimeout, BrokerError, BrokerUnavailable
from app.metrics import QUERIES
from app.proxies import proxy_for
from app.services.expiry import LONGEST_REFUSAL, is_refusal, may_be_refusal
from app.services.tokens import Tokens, UsableToken
from app.wire import Congested, HeaderLines, NotSent, OriginPool, TimedOut, WireError, WireResponse

# Below what servers allow an idle connection: one that closes just as it is used leaves a query without an answer.
_KEEP_ALIVE = 15.0
_CONNECT_TIMEOUT = 5.0
_QUEUE_TIMEOUT = 5.0
_WHOLE_TIMEOUT = 3_600.0


class BankAnswer:
    """An answer under way. To be closed by its owner."""

    __slots__ = ("_response", "token_version")

    def __init__(self, response: WireResponse, token_version: int) -> None:
        self._response = response
        self.token_version = token_version

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order, names in lower case."""
        return self._response.fields

    async def refuses_token(self) -> bool:
        """Tell whether the bank calls the token expired; looks at no more than the beginning of the body."""
        response = self._response
        if may_be_refusal(response.status, response.header("content-type") or "", response.content_length):
            beginning = await response.beginning(LONGEST_REFUSAL)
            if response.is_complete and len(beginning) <= LONGEST_REFUSAL:
                return is_refusal(beginning, response.header("content-encoding") or "")
            return False
        return response.status == 401

    def whole(self) -> bytes | None:
        """Return the body where all of it has come already, else None."""
        return self._response.whole()

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as the bank sent it, compressed or not. Raises BankError where it breaks off."""
        try:
            async for chunk in self._response.stream():
                yield chunk
        except WireError as error:
            raise BankError("the bank's answer broke off", code="bank_answer_broken") from error

    def close(self) -> None:
        """Give up what has not come yet."""
        self._response.close()


class QueryProxy:
    """Sends queries to the one GraphQL address of the settings."""

    def __init__(self, pool: OriginPool, tokens: Tokens) -> None:
        self._pool = pool
        self._tokens = tokens

    async def send(self, tenant: str, connection_id: str, headers: HeaderLines, body: bytes) -> BankAnswer:
        """Send a query and return the answer. `headers` go on as they are, beside the token.

        Raises what `Tokens.usable` raises, and BankError, BankTimeout or BrokerUnavailable.
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

    async def _ask(self, token: UsableToken, headers: HeaderLines, body: bytes) -> tuple[BankAnswer, bool]:
        """Send once. Returns the answer, and whether it refuses the token."""
        lines = (token.authorization, headers)
        try:
            try:
                response = await self._pool.post(lines, body)
            except NotSent:
                # The address may have moved to a server that is there.
                response = await self._pool.post(lines, body)
            answer = BankAnswer(response, token.version)
            try:
                refused = await answer.refuses_token()
            except BaseException:
                answer.close()
                raise
        except WireError as error:
            raise _translate(error) from error
        _counter(response.status).inc()
        return answer, refused


@asynccontextmanager
async def query_pool(graphql_url: str, *, patience: float, concurrency: int) -> AsyncIterator[OriginPool]:
    """Open the pool of connections for queries. `patience` seconds without a byte from the bank end a query."""
    pool = OriginPool(
        graphql_url,
        max_connections=concurrency,
        queue_length=concurrency,
        queue_timeout=_QUEUE_TIMEOUT,
        connect_timeout=_CONNECT_TIMEOUT,
        first_byte_timeout=patience,
        between_bytes_timeout=patience,
        whole_timeout=_WHOLE_TIMEOUT,
        keep_alive_seconds=_KEEP_ALIVE,
        proxy=proxy_for(graphql_url),
    )
    try:
        yield pool
    finally:
        await pool.close()


def _translate(error: WireError) -> BrokerError:
    if isinstance(error, Congested):
        return BrokerUnavailable("too many queries wait for the bank", code="too_many_queries", retry_after=1)
    if isinstance(error, TimedOut):
        return BankTimeout("the bank did not answer in time")
    return BankError("the bank cannot be reached, or broke off")


@lru_cache(maxsize=1_000)
def _counter(status: int) -> Counter:
    return QUERIES.labels(status=status)
