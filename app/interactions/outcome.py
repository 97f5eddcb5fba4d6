"""Requests the outcome of an interaction from the bank, because the redirect does not contain it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

from app.core import Core
from app.errors import BrokerError
from app.http_client import HeaderLines, header_lines
from app.interactions.bank import parse_decision, status_query
from app.observability.logs import get_logger
from app.query.sender import BrokerSender, Sender
from app.store import audit
from app.store.enums import InteractionStatus
from app.store.interactions import Interaction, claim_status_check, end_interaction
from app.store.postgresql.database import ForTenant, Requester

_CHECK_INTERVAL = 2.0  # seconds
_MAX_RESPONSE_BYTES = 65_536
_HEADERS = header_lines(
    [(b"content-type", b"application/json"), (b"accept", b"application/json"), (b"accept-encoding", b"identity")]
)
logger = get_logger(__name__)


class StreamedResponse(Protocol):
    """The part of `app.query.proxy.BankResponse` that is used here."""

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        ...

    def close(self) -> None:
        """Discard the part of the body that has not been read."""
        ...


# Sends a GraphQL query with a connection's token, like `app.query.proxy.QueryProxy.send`.
SendQuery: TypeAlias = Callable[[Sender, str, HeaderLines, bytes], Awaitable[StreamedResponse]]


class InteractionOutcomes:
    """Requests outcomes from the bank, and records them."""

    def __init__(self, core: Core, *, send_query: SendQuery, timeout: float) -> None:
        """`timeout`: how many seconds `check` waits for the bank's response."""
        self._database = core.database
        self._tasks = core.tasks
        self._send_query = send_query
        self._timeout = timeout

    async def check(self, interaction: Interaction, requester: Requester | None = None) -> bool:
        """Return whether the interaction has ended. Requests the outcome if the user has returned from the bank.

        Outcomes are requested at most every two seconds, by all replicas together.
        """
        async with self._database.transaction(requester) as transaction:
            if not await claim_status_check(transaction, interaction.id, pause=_CHECK_INTERVAL):
                return False
        # In a background task, because it may need a refresh: a browser that disconnects must not cancel that.
        task = self._tasks.spawn(self._request_and_record(interaction), f"interaction {interaction.id}")
        done, _ = await asyncio.wait({task}, timeout=self._timeout)
        return bool(done) and task.result()

    async def _request_and_record(self, interaction: Interaction) -> bool:
        try:
            is_approved = await self._request_decision(interaction)
        except BrokerError as error:
            logger.warning("interaction_outcome_unavailable", interaction_id=interaction.id, code=error.code)
            return False
        if is_approved is None:
            return False
        status = InteractionStatus.COMPLETED if is_approved else InteractionStatus.FAILED
        async with self._database.transaction(ForTenant(interaction.tenant)) as transaction:
            if await end_interaction(transaction, interaction.id, status):
                await audit.record(transaction, f"interaction.{status}", of=interaction)
        return True

    async def _request_decision(self, interaction: Interaction) -> bool | None:
        query = status_query(interaction.interaction_id)
        sender = BrokerSender(audit.BROKER, interaction.tenant)
        response = await self._send_query(sender, interaction.connection_id, _HEADERS, query)
        try:
            body = bytearray()
            async for chunk in response.stream():
                body += chunk
                if len(body) > _MAX_RESPONSE_BYTES:
                    return None
        finally:
            response.close()
        return parse_decision(bytes(body), interaction.interaction_id)
