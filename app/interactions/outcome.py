"""What became of an interaction: the redirect tells nothing, so the bank is asked, with the connection's token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

from app.core import Core
from app.errors import BrokerError
from app.http_client import HeaderLines, header_lines
from app.interactions.bank import read_decision, status_query
from app.observability.logs import get_logger
from app.query.sender import BrokerSender, Sender
from app.store import audit
from app.store.enums import InteractionStatus
from app.store.interactions import Interaction, claim_status_check, end_interaction
from app.store.postgresql.database import ForTenant, Requester

_PAUSE = 2.0
_LONGEST_ANSWER = 65_536
_HEADERS = header_lines(
    [(b"content-type", b"application/json"), (b"accept", b"application/json"), (b"accept-encoding", b"identity")]
)
logger = get_logger(__name__)


class BankAnswer(Protocol):
    """A streamed answer of the bank, to be closed."""

    def body(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        ...

    def close(self) -> None:
        """Drop what has not come yet."""
        ...


# Sends a GraphQL query with a connection's token: `app.query.proxy.QueryProxy.send` does.
SendQuery: TypeAlias = Callable[[Sender, str, HeaderLines, bytes], Awaitable[BankAnswer]]


class InteractionOutcomes:
    """Asks the bank, and writes down what it says."""

    def __init__(self, core: Core, *, send_query: SendQuery, timeout: float) -> None:
        """`timeout`: how many seconds the bank's answer is waited for."""
        self._database = core.database
        self._tasks = core.tasks
        self._send_query = send_query
        self._timeout = timeout

    async def ask(self, interaction: Interaction, requester: Requester | None = None) -> bool:
        """Ask the bank, if the user is back and nobody has asked just now; tell whether anything has changed."""
        async with self._database.transaction(requester) as transaction:
            if not await claim_status_check(transaction, interaction.id, pause=_PAUSE):
                return False
        # In a task of the process's, since it may need a refresh: a browser that goes away must not cut it short.
        task = self._tasks.spawn(self._settle(interaction), f"interaction {interaction.id}")
        done, _ = await asyncio.wait({task}, timeout=self._timeout)
        return bool(done) and task.result()

    async def _settle(self, interaction: Interaction) -> bool:
        try:
            has_succeeded = await self._decision(interaction)
        except BrokerError as error:
            logger.warning("interaction_unclear", interaction_id=interaction.id, code=error.code)
            return False
        if has_succeeded is None:
            return False
        status = InteractionStatus.COMPLETED if has_succeeded else InteractionStatus.FAILED
        async with self._database.transaction(ForTenant(interaction.tenant)) as transaction:
            if await end_interaction(transaction, interaction.id, status):
                await audit.record(transaction, f"interaction.{status}", of=interaction)
        return True

    async def _decision(self, interaction: Interaction) -> bool | None:
        query = status_query(interaction.interaction_id)
        sender = BrokerSender(audit.BROKER, interaction.tenant)
        answer = await self._send_query(sender, interaction.connection_id, _HEADERS, query)
        try:
            body = bytearray()
            async for chunk in answer.body():
                body += chunk
                if len(body) > _LONGEST_ANSWER:
                    return None
        finally:
            answer.close()
        return read_decision(bytes(body), interaction.interaction_id)
