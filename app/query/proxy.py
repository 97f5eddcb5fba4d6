"""Sends a query to the bank with the connection's token, and returns the response as a stream.

A rejected token is replaced once and the request repeated, mutations too: the bank has not run it. If the bank rejected
the token of a mutation during its execution, the mutation may have been run and is not repeated. Apart from that, only
a request whose connection could not be opened is sent again: it cannot have reached the bank.
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
from app.query.token_rejection import MAX_REJECTION_BYTES, TokenRejection, find_rejection, may_be_rejection
from app.refresh.connection_cache import UsableToken
from app.refresh.tokens import AccessTokens

_ATTRIBUTES = {"http.request.method": "POST"}
_NO_LINES = header_lines(())
# The metric's status label for a request without a response.
_STATUS_OF_ERROR: dict[type[HttpClientError], str] = {ConnectError: "unreachable", PoolExhausted: "not_sent"}


class BankResponse:
    """The bank's response, whose body may still be arriving. The caller closes it."""

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
    def header_fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order, with lower-case names."""
        return self._response.header_fields

    async def token_rejection(self) -> TokenRejection:
        """Return whether the bank rejected the token as expired. Reads at most the beginning of the body."""
        response = self._response
        if response.status != 200:
            return TokenRejection.REQUEST_ERROR if response.status == 401 else TokenRejection.NONE
        if not may_be_rejection(response.header("content-type") or "", response.content_length):
            return TokenRejection.NONE
        beginning = await response.peek(MAX_REJECTION_BYTES)
        if not response.is_complete or len(beginning) > MAX_REJECTION_BYTES:
            return TokenRejection.NONE
        return find_rejection(beginning, response.header("content-encoding"))

    def read_if_complete(self) -> bytes | None:
        """Return the body if all of it has arrived, else None."""
        return self._response.read_if_complete()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as the bank sent it, compressed or not. Raises BankError if the connection is lost."""
        try:
            async for chunk in self._response.stream():
                yield chunk
        except HttpClientError as error:
            raise BankError("the bank's response was cut off", code="bank_answer_broken") from error

    def close(self) -> None:
        """Discard the part of the body that has not been read."""
        self._response.close()


class QueryProxy:
    """Sends queries to the GraphQL URL of the settings."""

    def __init__(self, bank: Bank, *, tokens: AccessTokens, mutations: MutationDetector) -> None:
        self._pool = bank.query_pool
        self._proofs = bank.query_proofs
        self._tokens = tokens
        self._mutations = mutations

    async def send(self, sender: Sender, connection_id: str, headers: HeaderLines, body: bytes) -> BankResponse:
        """Send a query with `headers` and the connection's token, and return the response.

        Raises the errors of `AccessTokens.get` and `Sender.confirm`, and BankError, BankTimeout or BrokerUnavailable.
        """
        token = await self._tokens.get(sender.tenant, connection_id)
        await sender.confirm()
        send = self._send if token.proof_key is None else self._send_with_proof
        response, rejection = await send(token, headers, body)
        if rejection is TokenRejection.NONE:
            return response
        may_have_run = False
        try:
            may_have_run = rejection is TokenRejection.FIELD_ERROR and await self._may_mutate(sender, body)
            successor = await self._tokens.replace_rejected(sender.tenant, token)
            await sender.confirm()
        except BaseException as error:
            # The bank's response says more about a mutation that may have run than this error does.
            if may_have_run and isinstance(error, BrokerError):
                return response
            response.close()
            raise
        if successor is None or may_have_run:
            return response
        response.close()
        send = self._send if successor.proof_key is None else self._send_with_proof
        response, rejection = await send(successor, headers, body)
        # A response with another status does not show whether the bank checked the token.
        if rejection is TokenRejection.NONE and response.status == 200:
            self._tokens.record_acceptance(successor)
        return response

    async def _may_mutate(self, sender: Sender, body: bytes) -> bool:
        try:
            return await self._mutations.may_mutate(sender.tenant, sender.id, body)
        except (InvalidRequest, BrokerUnavailable):
            # It cannot be determined, so the request is treated as a mutation and not repeated.
            return True

    async def _send_with_proof(
        self, token: UsableToken, headers: HeaderLines, body: bytes
    ) -> tuple[BankResponse, TokenRejection]:
        """Send with a DPoP proof. Send again if the bank demands a nonce: it has not run the request (RFC 9449)."""
        assert token.proof_key is not None
        key, secret = token.proof_key, token.access_token
        response, rejection = await self._send(token, self._proofs.with_proof(key, secret, headers), body)
        if not self._proofs.requires_nonce(response):
            return response, rejection
        response.close()
        response, rejection = await self._send(token, self._proofs.with_proof(key, secret, headers), body)
        return response, TokenRejection.NONE if self._proofs.requires_nonce(response) else rejection

    async def _send(self, token: UsableToken, headers: HeaderLines, body: bytes) -> tuple[BankResponse, TokenRejection]:
        """Send the request once, and check whether the bank rejected the token."""
        with span("POST graphql", SpanKind.CLIENT, _ATTRIBUTES) as sending:
            # Not part of `headers`, which are reused: each request has its own trace context.
            trace = current_trace_context()
            lines = (token.authorization, headers, header_lines(trace.headers()) if trace else _NO_LINES)
            try:
                try:
                    response = await self._pool.post(lines, body)
                except ConnectError:
                    # The name may meanwhile resolve to a server that is available.
                    response = await self._pool.post(lines, body)
                bank_response = BankResponse(response, token.version)
                try:
                    rejection = await bank_response.token_rejection()
                except BaseException:
                    bank_response.close()
                    raise
            except HttpClientError as error:
                _counter(_STATUS_OF_ERROR.get(type(error), "no_answer")).inc()
                raise _broker_error(error) from error
            _counter(response.status).inc()
            if sending.is_recording:
                is_rejected = rejection is not TokenRejection.NONE
                sending.set_attributes({"http.response.status_code": response.status})
                if response.status >= 400 or is_rejected:
                    sending.set_error("token_refused" if is_rejected else str(response.status))
            return bank_response, rejection


def _broker_error(error: HttpClientError) -> BrokerError:
    if isinstance(error, PoolExhausted):
        return BrokerUnavailable("too many queries are waiting for the bank", code="too_many_queries", retry_after=1)
    if isinstance(error, HttpTimeout):
        return BankTimeout("the bank did not answer in time")
    return BankError("the bank cannot be reached, or closed the connection")


@lru_cache(maxsize=1_000)
def _counter(status: int | str) -> Counter:
    return BANK_REQUESTS.labels(endpoint="graphql", status=status)
