import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.store.postgresql.database import Database
from app.store.postgresql.notifications import (
    Notifications,
    caller_topic,
    connection_topic,
    notify,
    session_topic,
    wait_for_event,
)
from tests.store.postgresql.test_database import TERMINATE
from tests.support.eventually import eventually
from tests.support.relay import Relay
from tests.support.replica import running

Heard = list[str | None]


@pytest.fixture(autouse=True)
def _quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.postgresql.notifications._HEARTBEAT_SECONDS", 0.05)


def observed(notifications: Notifications) -> Heard:
    heard: Heard = []
    notifications.observe(heard.append)
    return heard


@pytest.fixture
async def listening(database: Database) -> AsyncIterator[Notifications]:
    notifications = Notifications(database)
    async with running(notifications):
        yield notifications


async def notify_topic(database: Database, topic: str) -> None:
    async with database.transaction() as transaction:
        await notify(transaction, topic)


async def hears(notifications: Notifications, database: Database, heard: Heard, topic: str) -> None:
    async def is_notified() -> bool:
        await notify_topic(database, topic)
        return topic in heard

    await eventually(is_notified)
    assert notifications.is_listening


async def test_a_change_is_notified_when_it_is_committed(listening: Notifications, database: Database) -> None:
    heard = observed(listening)
    async with listening.subscribed("connection:1") as mine, listening.subscribed("connection:2") as other:
        async with database.transaction() as transaction:
            await notify(transaction, "connection:1")
            assert not mine.is_set()
        await asyncio.wait_for(mine.wait(), 20)
        assert not other.is_set()
    assert heard == ["connection:1"]


async def test_a_change_that_is_rolled_back_is_not_notified(listening: Notifications, database: Database) -> None:
    heard = observed(listening)
    with pytest.raises(LookupError):
        async with database.transaction() as transaction:
            await notify(transaction, "connection:1")
            raise LookupError
    await hears(listening, database, heard, "connection:2")
    assert "connection:1" not in heard


async def test_all_subscribers_are_woken_and_none_is_kept(listening: Notifications, database: Database) -> None:
    async with listening.subscribed("session:1") as first, listening.subscribed("session:1") as second:
        await notify_topic(database, "session:1")
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 20)
    await notify_topic(database, "session:1")
    async with listening.subscribed("session:1") as later:
        assert not later.is_set()


async def test_the_start_announces_that_notifications_may_have_been_missed(database: Database) -> None:
    notifications = Notifications(database)
    heard = observed(notifications)
    async with running(notifications):
        assert heard == [None]
    assert not notifications.is_listening


async def test_a_terminated_backend_is_replaced_and_the_gap_is_announced(
    listening: Notifications, database: Database
) -> None:
    heard = observed(listening)
    async with listening.subscribed("connection:1") as waiting:
        async with database.transaction() as transaction:
            await transaction.execute(TERMINATE)
        await asyncio.wait_for(waiting.wait(), 20)
    assert heard[0] is None
    await hears(listening, database, heard, "connection:2")


class _EndingConnection:
    """A connection that the server ends while the driver is sending a statement."""

    async def add_listener(self, *_: object) -> None:
        raise asyncpg.InternalClientError("another operation is in progress")

    def terminate(self) -> None:
        """Nothing is open."""


class _FirstConnectionEnds(Database):
    attempts = 0

    async def connect(self, *_: object, **__: object) -> Any:
        self.attempts += 1
        return _EndingConnection() if self.attempts == 1 else await super().connect()


async def test_a_connection_that_ends_during_a_statement_is_replaced(
    database_url: SecretStr, database: Database
) -> None:
    notifications = Notifications(_FirstConnectionEnds(database_url))
    async with running(notifications):
        heard = observed(notifications)
        await hears(notifications, database, heard, "connection:1")


async def test_an_outage_is_survived(relay: Relay, database: Database) -> None:
    notifications = Notifications(Database(relay.url))
    async with running(notifications):
        heard = observed(notifications)
        await relay.cut()

        async def is_deaf() -> bool:
            return not notifications.is_listening

        await eventually(is_deaf)
        await asyncio.sleep(0.2)
        await relay.restore()
        await hears(notifications, database, heard, "connection:1")
        assert heard[0] is None


async def test_a_database_that_starts_later_is_waited_for(relay: Relay, database: Database) -> None:
    await relay.cut()
    notifications = Notifications(Database(relay.url))
    task = asyncio.create_task(notifications.run())
    await asyncio.sleep(0.05)
    assert not task.done()
    await relay.restore()
    await hears(notifications, database, observed(notifications), "connection:1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_waiting_ends_with_the_event_or_the_timeout() -> None:
    event = asyncio.Event()
    await wait_for_event(event, 0.01)
    event.set()
    await wait_for_event(event, 1_000)


async def test_no_connection_is_leaked(database: Database, database_url: SecretStr) -> None:
    async with running(Notifications(Database(database_url))):
        pass

    async def nobody_listens() -> bool:
        activity = "pg_stat_activity WHERE datname = current_database() AND query ~ 'LISTEN'"
        async with database.transaction() as transaction:
            return bool((await transaction.execute(text(f"SELECT count(*) = 1 FROM {activity}"))).scalar_one())

    # This connection has the word in its own query.
    await eventually(nobody_listens)


def test_topics_are_distinct() -> None:
    assert len({connection_topic("1"), session_topic("1"), caller_topic("1"), connection_topic("2")}) == 4
