"""What became of an interaction: the redirect tells nothing, so the bank is asked, with the connection's token."""

import asyncio

from app.callers.admission import Asker
from app.concurrency.background_tasks import BackgroundTasks
from app.errors import BrokerError
from app.http_client import header_lines
from app.interactions.bank import read_decision, status_query
from app.observability.logs import get_logger
from app.query.proxy import QueryProxy
from app.store import audit
from app.store.interactions import Interaction, InteractionStatus, end_interaction, take_turn_to_ask
from app.store.postgresql.database import Database

_PAUSE = 2.0
_LONGEST_ANSWER = 65_536
_HEADERS = header_lines(
    [(b"content-type", b"application/json"), (b"accept", b"application/json"), (b"accept-encoding", b"identity")]
)
logger = get_logger(__name__)


class Decisions:
    """Asks the bank, and writes down what it says."""

    def __init__(self, *, database: Database, proxy: QueryProxy, tasks: BackgroundTasks, patience: float) -> None:
        """`patience`: the seconds that whoever asks is kept waiting."""
        self._database = database
        self._proxy = proxy
        self._tasks = tasks
        self._patience = patience

    async def ask(self, interaction: Interaction) -> bool:
        """Ask the bank, if the user is back and nobody has asked just now; tell whether anything has changed."""
        async with self._database.transaction() as transaction:
            if not await take_turn_to_ask(transaction, interaction.id, pause=_PAUSE):
                return False
        # In a task of the process's, since it may need a refresh: a browser that goes away must not cut it short.
        task = self._tasks.spawn(self._settle(interaction), f"interaction {interaction.id}")
        done, _ = await asyncio.wait({task}, timeout=self._patience)
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
        async with self._database.transaction() as transaction:
            if await end_interaction(transaction, interaction.id, status):
                await audit.record(
                    transaction,
                    tenant=interaction.tenant,
                    actor=audit.BROKER,
                    action=f"interaction.{status}",
                    connection_id=interaction.connection_id,
                    interaction_id=interaction.id,
                )
        return True

    async def _decision(self, interaction: Interaction) -> bool | None:
        query = status_query(interaction.interaction_id)
        asker = Asker(audit.BROKER, interaction.tenant)
        answer = await self._proxy.send(asker, interaction.connection_id, _HEADERS, query)
        try:
            body = bytearray()
            async for chunk in answer.body():
                body += chunk
                if len(body) > _LONGEST_ANSWER:
                    return None
        finally:
            answer.close()
        return read_decision(bytes(body), interaction.interaction_id)
