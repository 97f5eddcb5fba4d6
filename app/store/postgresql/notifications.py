"""LISTEN and NOTIFY: how replicas tell each other that a row has changed.

A notification is a hint. Whoever waits for one also looks by himself now and then, so a channel that is cut makes
things slower, never wrong.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import asyncpg
from sqlalchemy import func, select

from app.observability.logs import get_logger
from app.observability.metrics import NOTIFICATIONS_CONNECTED
from app.store.postgresql.database import TOPICS, Database, Transaction

CHANNEL = "broker_changes"
OUTBOX_TOPIC = "outbox"
HEARTBEAT = 5.0
logger = get_logger(__name__)


def connection_topic(connection_id: str) -> str:
    """Name the changes of one connection."""
    return f"connection:{connection_id}"


def session_topic(session_id: str) -> str:
    """Name the changes of one session."""
    return f"session:{session_id}"


def interaction_topic(interaction_id: str) -> str:
    """Name the changes of one interaction."""
    return f"interaction:{interaction_id}"


def caller_topic(caller_id: str) -> str:
    """Name the changes of one caller and its keys."""
    return f"caller:{caller_id}"


async def notify(transaction: Transaction, topic: str) -> None:
    """Tell every replica, when `transaction` commits, that `topic` has changed."""
    await transaction.execute(select(func.pg_notify(CHANNEL, topic)))
    # This process need not wait for the channel to hear of its own deeds.
    transaction.info[TOPICS].append(topic)


class Notifications:
    """One listening connection for the process, opened again whenever it is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._heard = False
        self._observers: list[Callable[[str | None], None]] = []

    @property
    def are_heard(self) -> bool:
        """True while this replica hears of changes at once, rather than when its memory runs out."""
        return self._heard

    def observe(self, observer: Callable[[str | None], None]) -> None:
        """Call `observer` with each topic, and with None whenever notifications may have been missed."""
        self._observers.append(observer)

    @contextlib.asynccontextmanager
    async def subscribed(self, topic: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set at each change of `topic`; clear it before looking, then wait."""
        event = asyncio.Event()
        self._waiting.setdefault(topic, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]

    async def run(self) -> None:
        """Listen until cancelled."""
        delay, outage = 0.1, ""
        while True:
            try:
                connection = await self._database.connect()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if outage != (outage := type(error).__name__):
                    logger.warning("notifications_unavailable", reason=outage)
            else:
                outage = ""
                try:
                    await self._listen(connection)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    logger.warning("notifications_lost", reason=type(error).__name__)
                finally:
                    self._set_heard(False)
                    connection.terminate()
                delay = 0.1
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        await connection.add_listener(CHANNEL, self._received)
        self._set_heard(True)
        self.announce(None)
        while True:
            await asyncio.sleep(HEARTBEAT)
            await connection.execute("SELECT 1")

    def _set_heard(self, heard: bool) -> None:
        self._heard = heard
        NOTIFICATIONS_CONNECTED.set(heard)

    def _received(self, _connection: object, _pid: int, _channel: str, topic: object) -> None:
        self.announce(str(topic))

    def announce(self, topic: str | None) -> None:
        """Tell everybody in this process that `topic` has changed, or with None that anything may have."""
        for observer in self._observers:
            observer(topic)
        events = self._waiting.values() if topic is None else (self._waiting.get(topic, set()),)
        for waiting in events:
            for event in waiting:
                event.set()


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set or `seconds` have passed, whichever is first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
