"""Notifies all replicas of changed rows, with PostgreSQL's LISTEN and NOTIFY.

A notification is a hint. Code that waits for one also polls, so a lost connection makes things slower but never wrong.
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
_HEARTBEAT_SECONDS = 5.0
_RECONNECT_DELAY_SECONDS, _MAX_RECONNECT_DELAY_SECONDS = 0.1, 5.0
# asyncpg raises InternalClientError if the server ends the connection at the very moment of a statement.
_CONNECTION_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
logger = get_logger(__name__)


def connection_topic(connection_id: str) -> str:
    """Return the topic for changes of a connection."""
    return f"connection:{connection_id}"


def session_topic(session_id: str) -> str:
    """Return the topic for changes of a session."""
    return f"session:{session_id}"


def interaction_topic(interaction_id: str) -> str:
    """Return the topic for changes of an interaction."""
    return f"interaction:{interaction_id}"


def caller_topic(caller_id: str) -> str:
    """Return the topic for changes of a caller and its keys."""
    return f"caller:{caller_id}"


async def notify(transaction: Transaction, topic: str) -> None:
    """Notify all replicas of a change of `topic` when `transaction` commits."""
    await transaction.execute(select(func.pg_notify(CHANNEL, topic)))
    # This process is notified directly, without a round trip through the database.
    transaction.info[TOPICS].append(topic)


class Notifications:
    """Listens on one connection for the whole process, and reconnects when it is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._is_listening = False
        self._observers: list[Callable[[str | None], None]] = []

    @property
    def is_listening(self) -> bool:
        """Whether notifications of other replicas arrive at present."""
        return self._is_listening

    def observe(self, observer: Callable[[str | None], None]) -> None:
        """Call `observer` with each changed topic, and with None when notifications may have been missed."""
        self._observers.append(observer)

    @contextlib.asynccontextmanager
    async def subscribed(self, topic: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set at each change of `topic`. Clear it before reading the row, then wait for it."""
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
        delay, outage = _RECONNECT_DELAY_SECONDS, ""
        while True:
            try:
                connection = await self._database.connect()
            except _CONNECTION_ERRORS as error:
                if outage != (outage := type(error).__name__):
                    logger.warning("notifications_unavailable", reason=outage)
            else:
                outage = ""
                try:
                    await self._listen(connection)
                except _CONNECTION_ERRORS as error:
                    logger.warning("notifications_lost", reason=type(error).__name__)
                finally:
                    self._set_listening(False)
                    connection.terminate()
                delay = _RECONNECT_DELAY_SECONDS
            await asyncio.sleep(delay)
            delay = min(delay * 2, _MAX_RECONNECT_DELAY_SECONDS)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        await connection.add_listener(CHANNEL, self._received)
        self._set_listening(True)
        self.announce(None)
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await connection.execute("SELECT 1")

    def _set_listening(self, is_listening: bool) -> None:
        self._is_listening = is_listening
        NOTIFICATIONS_CONNECTED.set(is_listening)

    def _received(self, _connection: object, _pid: int, _channel: str, topic: object) -> None:
        self.announce(str(topic))

    def announce(self, topic: str | None) -> None:
        """Set the events and call the observers of `topic` in this process. None stands for all topics."""
        for observer in self._observers:
            observer(topic)
        events = self._waiting.values() if topic is None else (self._waiting.get(topic, set()),)
        for waiting in events:
            for event in waiting:
                event.set()


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, or after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
