import asyncio

import pytest

from app.errors import DatabaseUnavailable
from app.maintenance.retention import Retention, RetentionPeriods
from app.store.audit_chain import verify
from app.store.tables import audit_events, sessions
from tests.conftest import ReplicaFactory
from tests.support.audit import days_ago, insert_event
from tests.support.eventually import eventually
from tests.support.logs import capture_logs
from tests.support.relay import Relay
from tests.support.replica import Replica
from tests.support.rows import Rows

PERIODS = RetentionPeriods(sessions=90, refreshes=30, tombstones=0, audit=100)


def retention_of(replica: Replica, *, lease_seconds: float = 60) -> Retention:
    """Return a retention job that needs several batches."""
    return Retention(replica.core.database, PERIODS, batch_size=2, lease_seconds=lease_seconds)


async def old_sessions(replica: Replica, rows: Rows, count: int) -> None:
    for _ in range(count):
        session = await replica.start_login()
        await rows.change_session(session.id, ended_at=days_ago(91))


async def test_old_rows_are_deleted_and_the_audit_log_records_that(replica: Replica, rows: Rows) -> None:
    for _ in range(5):
        await insert_event(replica.core.database, 101)
    await old_sessions(replica, rows, 5)
    with capture_logs() as logs:
        await retention_of(replica).sweep()
    [line] = logs.with_event("old_rows_removed")
    assert (line["session"], line["audit_event"], line["tombstone"], line["refresh_attempt"]) == (5, 5, 0, 0)
    assert await rows.count(sessions) == 0
    assert (await rows.column(audit_events, "action"))[-1] == "audit.shortened"
    [chain] = await verify(replica.core.database)
    assert (chain.fault, chain.removed) == (None, 5)


async def test_rows_without_a_retention_period_are_kept(replica: Replica, rows: Rows) -> None:
    await insert_event(replica.core.database, 10_000)
    await old_sessions(replica, rows, 1)
    await Retention(replica.core.database, RetentionPeriods(sessions=0, refreshes=0, tombstones=0, audit=0)).sweep()
    assert await rows.count(sessions) == 1
    assert "audit.shortened" not in await rows.column(audit_events, "action")


async def test_one_replica_at_a_time_deletes_and_only_once_an_hour(replicas: ReplicaFactory, rows: Rows) -> None:
    several = [await replicas() for _ in range(3)]
    await old_sessions(several[0], rows, 6)
    with capture_logs() as logs:
        await asyncio.gather(*(retention_of(replica).sweep() for replica in several))
        await old_sessions(several[0], rows, 1)
        await retention_of(several[0]).sweep()
    assert [line["session"] for line in logs.with_event("old_rows_removed")] == [6]
    assert await rows.count(sessions) == 1


async def test_another_replica_continues_after_one_is_lost(
    replicas: ReplicaFactory, relay: Relay, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, other = await replicas(database_url=relay.url, listens=False), await replicas()
    await old_sessions(other, rows, 5)
    retention = retention_of(lost, lease_seconds=0.5)

    async def cut_the_connection(*_: object, **__: object) -> None:
        await relay.cut()

    monkeypatch.setattr("app.maintenance.retention.delete_old_tombstones", cut_the_connection)
    monkeypatch.setattr("app.maintenance.retention.delete_old_refresh_attempts", cut_the_connection)
    with pytest.raises(DatabaseUnavailable):
        await retention.sweep()
    monkeypatch.undo()
    await old_sessions(other, rows, 2)

    async def are_deleted() -> bool:
        await retention_of(other).sweep()
        return await rows.count(sessions) == 0

    await eventually(are_deleted)
