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

AGES = RetentionPeriods(sessions=90, refreshes=30, tombstones=0, audit=100)


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.maintenance.retention._BATCH_SIZE", 2)


async def old_sessions(replica: Replica, rows: Rows, count: int) -> None:
    for _ in range(count):
        session = await replica.start_login()
        await rows.change_session(session.id, ended_at=days_ago(91))


@pytest.mark.usefixtures("_small_batches")
async def test_everything_old_goes_and_the_audit_says_so(replica: Replica, rows: Rows) -> None:
    for _ in range(5):
        await insert_event(replica.core.database, 101)
    await old_sessions(replica, rows, 5)
    with capture_logs() as logs:
        await Retention(replica.core.database, AGES).sweep()
    [line] = logs.with_event("old_rows_removed")
    assert (line["session"], line["audit_event"], line["tombstone"], line["refresh_attempt"]) == (5, 5, 0, 0)
    assert await rows.count(sessions) == 0
    assert (await rows.column(audit_events, "action"))[-1] == "audit.shortened"
    [chain] = await verify(replica.core.database)
    assert (chain.fault, chain.removed) == (None, 5)


async def test_what_is_to_be_kept_for_ever_is_kept(replica: Replica, rows: Rows) -> None:
    await insert_event(replica.core.database, 10_000)
    await old_sessions(replica, rows, 1)
    await Retention(replica.core.database, RetentionPeriods(sessions=0, refreshes=0, tombstones=0, audit=0)).sweep()
    assert await rows.count(sessions) == 1
    assert "audit.shortened" not in await rows.column(audit_events, "action")


@pytest.mark.usefixtures("_small_batches")
async def test_one_replica_at_a_time_looks_and_not_all_the_time(replicas: ReplicaFactory, rows: Rows) -> None:
    several = [await replicas() for _ in range(3)]
    await old_sessions(several[0], rows, 6)
    with capture_logs() as logs:
        await asyncio.gather(*(Retention(replica.core.database, AGES).sweep() for replica in several))
        await old_sessions(several[0], rows, 1)
        await Retention(several[0].core.database, AGES).sweep()
    assert [line["session"] for line in logs.with_event("old_rows_removed")] == [6]
    assert await rows.count(sessions) == 1


@pytest.mark.usefixtures("_small_batches")
async def test_a_replica_that_is_lost_is_followed_by_another(
    replicas: ReplicaFactory, relay: Relay, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.maintenance.retention._LEASE_SECONDS", 0.5)
    lost, other = await replicas(database_url=relay.url, listens=False), await replicas()
    await old_sessions(other, rows, 5)
    sweeping = Retention(lost.core.database, AGES)

    async def one_batch_then_away(*_: object, **__: object) -> None:
        await relay.cut()

    monkeypatch.setattr("app.maintenance.retention.delete_old_tombstones", one_batch_then_away)
    monkeypatch.setattr("app.maintenance.retention.delete_old_refresh_attempts", one_batch_then_away)
    with pytest.raises(DatabaseUnavailable):
        await sweeping.sweep()
    monkeypatch.undo()
    await old_sessions(other, rows, 2)

    async def are_gone() -> bool:
        await Retention(other.core.database, AGES).sweep()
        return await rows.count(sessions) == 0

    await eventually(are_gone)
