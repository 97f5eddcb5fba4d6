"""A query to the bank with the connection's token, and its answer as it comes.

A refused token is replaced once and the query repeated, mutations too: what was refused was not run. A mutation of
which the bank refuses a field may have been, and is not repeated. Nothing else is sent twice once it may have been
sent; only a connection that could not be opened is tried again.
"""

from collections.abc import AsyncIterator
from functools import lru_cache

from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from app.bank.bank import Bank
from app.errors import BankError, BankTimeout, BrokerError, BrokerUnavailable, InvalidRequest
from app.http_client import (
    ConnectError,
    HeaderLines,
    HttpClientError,
    HttpTimeout,
    PoolExhausted,
    Response,
    header_lines,
)
from app.observability.metrics import BANK_REQUESTS
from app.observability.trace_context import current_trace_context
from app.observability.tracing import span
from app.query.mutations import MutationDetector
from app.query.sender import Sender
from app.query.token_expiry import LONGEST_REFUSAL, Refusal, may_be_refusal, refusal_in
from app.refresh.connection_cache import UsableToken
from app.refresh.tokens import AccessTokens

_ATTRIBUTES = {"http.request.method": "POST"}
_NO_LINES = header_lines(())
# What a query that got no answer is counted as.
_BECAME: dict[type[HttpClientError], str] = {ConnectError: "unreachable", PoolExhausted: "not_sent"}


class BankAnswer:
    """An answer under way. To be closed by its owner."""

    __slots__ = ("_response", "token_version")

    def __init__(self, response: Response, token_version: int) -> None:
        self._response = response
        self.token_version = token_version

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its lower-case name."""
        return self._response.header(name)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order, names in lower case."""
        return self._response.header_fields

    async def refusal(self) -> Refusal:
        """Tell whether the bank calls the token expired; looks at no more than the beginning of the body."""
        response = self._response
        if response.status != 200:
            return Refusal.OF_THE_REQUEST if response.status == 401 else Refusal.NONE
        if not may_be_refusal(response.header("content-type") or "", response.content_length):
            return Refusal.NONE
        beginning = await response.peek(LONGEST_REFUSAL)
        if not response.is_complete or len(beginning) > LONGEST_REFUSAL:
            return Refusal.NONE
        return refusal_in(beginning, response.header("content-encoding"))

    def whole(self) -> bytes | None:
        """Return the body where all of it has come already, else None."""
        return self._response.read_if_complete()

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as the bank sent it, compressed or not. Raises BankError where it breaks off."""
        try:
            async for chunk in self._response.stream():
                yield chunk
        except HttpClientError as error:
            raise BankError("the bank's answer broke off", code="bank_answer_broken") from error

    def close(self) -> None:
        """Give up what has not come yet."""
        self._response.close()


class QueryProxy:
    """Sends queries to the one GraphQL address of the settings."""

    def __init__(self, bank: Bank, *, tokens: AccessTokens, documents: MutationDetector) -> None:
        self._pool = bank.query_pool
        self._proofs = bank.query_proofs
        self._tokens = tokens
        self._documents = documents

    async def send(self, sender: Sender, connection_id: str, headers: HeaderLines, body: bytes) -> BankAnswer:
        """Send a query and return the answer. `headers` go on as they are, beside the token.

        Raises what `AccessTokens.get` and `Sender.confirm` raise, and BankError, BankTimeout or BrokerUnavailable.
        """
        token = await self._tokens.get(sender.tenant, connection_id)
        await sender.confirm()
        ask = self._ask if token.proof_key is None else self._ask_with_proof
        answer, refusal = await ask(token, headers, body)
        if refusal is Refusal.NONE:
            return answer
        may_have_run = False
        try:
            may_have_run = refusal is Refusal.OF_A_FIELD and await self._may_mutate(sender, body)
            successor = await self._tokens.replace_rejected(sender.tenant, token)
            await sender.confirm()
        except BaseException as error:
            # Of what may have run, the bank's own answer tells more.
            if may_have_run and isinstance(error, BrokerError):
                return answer
            answer.close()
            raise
        if successor is None or may_have_run:
            return answer
        answer.close()
        ask = self._ask if successor.proof_key is None else self._ask_with_proof
        answer, refusal = await ask(successor, headers, body)
        # Of an error of the bank's, nobody knows whether it had looked at the token.
        if refusal is Refusal.NONE and answer.status == 200:
            self._tokens.record_acceptance(successor)
        return answer

    async def _may_mutate(self, sender: Sender, body: bytes) -> bool:
        try:
            return await self._documents.may_mutate(sender.tenant, sender.id, body)
        except (InvalidRequest, BrokerUnavailable):
            # Nobody knows: of one that may have run, the bank's answer tells more.
            return True

    async def _ask_with_proof(
        self, token: UsableToken, headers: HeaderLines, body: bytes
    ) -> tuple[BankAnswer, Refusal]:
        """Send with a proof of the token's key; once more where the bank did not run it for the lack of its nonce."""
        assert token.proof_key is not None
        key, secret = token.proof_key, token.access_token
        answer, refusal = await self._ask(token, self._proofs.with_proof(key, secret, headers), body)
        if not self._proofs.requires_nonce(answer):
            return answer, refusal
        answer.close()
        answer, refusal = await self._ask(token, self._proofs.with_proof(key, secret, headers), body)
        return answer, Refusal.NONE if self._proofs.requires_nonce(answer) else refusal

    async def _ask(self, token: UsableToken, headers: HeaderLines, body: bytes) -> tuple[BankAnswer, Refusal]:
        """Send once. Returns the answer, and of what it refuses the token."""
        with span("POST graphql", SpanKind.CLIENT, _ATTRIBUTES) as sending:
            # The trace stands beside the headers, which are kept: it is another one each time.
            trace = current_trace_context()
            lines = (token.authorization, headers, header_lines(trace.headers()) if trace else _NO_LINES)
            try:
                try:
                    response = await self._pool.post(lines, body)
                except ConnectError:
                    # The address may have moved to a server that is there.
                    response = await self._pool.post(lines, body)
                answer = BankAnswer(response, token.version)
                try:
                    refusal = await answer.refusal()
                except BaseException:
                    answer.close()
                    raise
            except HttpClientError as error:
                _counter(_BECAME.get(type(error), "no_answer")).inc()
                raise _translate(error) from error
            _counter(response.status).inc()
            if sending.is_recording:
                sending.set_attributes({"http.response.status_code": response.status})
                if response.status >= 400 or refusal is not Refusal.NONE:
                    sending.set_error("token_refused" if refusal is not Refusal.NONE else str(response.status))
            return answer, refusal


def _translate(error: HttpClientError) -> BrokerError:
    if isinstance(error, PoolExhausted):
        return BrokerUnavailable("too many queries wait for the bank", code="too_many_queries", retry_after=1)
    if isinstance(error, HttpTimeout):
        return BankTimeout("the bank did not answer in time")
    return BankError("the bank cannot be reached, or broke off")


@lru_cache(maxsize=1_000)
def _counter(status: int | str) -> Counter:
    return BANK_REQUESTS.labels(endpoint="graphql", status=status)
