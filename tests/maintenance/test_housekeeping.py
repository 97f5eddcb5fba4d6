import asyncio

import pytest
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.enums import SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import revocations
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import living_families_at
from tests.support.eventually import eventually
from tests.support.logs import capture_log_events
from tests.support.relay import Relay
from tests.support.replica import CALLER, Replica
from tests.support.rows import TENANT, Rows


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PERIOD_SECONDS", "_LAST_USED_PERIOD_SECONDS"):
        monkeypatch.setattr(f"app.maintenance.housekeeping.{name}", 0.05)
    monkeypatch.setattr("app.concurrency.periodic._PAUSE_AFTER_ERROR", 0.05)


async def test_a_login_that_nobody_finished_expires(replica: Replica, rows: Rows) -> None:
    session = await replica.start_login()
    await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await replica.maintenance.housekeeping.expire_logins()
    ended = await replica.login.sessions.get(CALLER, session.id)
    assert ended.status is SessionStatus.EXPIRED
    assert (ended.code_verifier, ended.authorization_url, ended.ticket) == (None, None, None)


async def test_two_replicas_keep_house_without_getting_in_each_others_way(
    monkeypatch: pytest.MonkeyPatch, replicas: ReplicaFactory, rows: Rows
) -> None:
    monkeypatch.setattr("app.maintenance.housekeeping._SESSIONS_PER_TRANSACTION", 3)
    both = [await replicas(), await replicas()]
    made = [await both[0].start_login() for _ in range(10)]
    for session in made:
        await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await asyncio.gather(*(replica.maintenance.housekeeping.expire_logins() for replica in both))
    for session in made:
        assert (await both[0].login.sessions.get(CALLER, session.id)).ticket is None


@pytest.mark.usefixtures("_quick")
async def test_it_goes_on_by_itself_and_through_outages(
    replicas: ReplicaFactory, relay: Relay, rows: Rows, bank: SandboxClient
) -> None:
    replica = await replicas(database_url=relay.url)
    session = await replica.start_login()
    connection = await rows.link(bank)
    await replica.refresh.tokens.get(TENANT, connection.id)
    await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await bank.set_faults(revocation={"status": 503, "times": 1})
    await replica.connections.disconnect.disconnect(CALLER, connection.id)
    await relay.cut()
    with capture_log_events() as logs:
        keeping = asyncio.create_task(replica.maintenance.housekeeping.run())

        async def has_paused() -> bool:
            return {line["event"] for line in logs} >= {"housekeeping_paused"}

        await eventually(has_paused)
    await relay.restore()

    async def is_done() -> bool:
        held = await rows.held(connection.id)
        return await rows.count(revocations) == 0 and held.connection.last_used_at is not None

    await eventually(is_done)
    assert await living_families_at(bank) == 0
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


@pytest.mark.usefixtures("_quick")
async def test_a_fault_of_ours_is_logged_and_stops_nothing(replica: Replica) -> None:
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(text("ALTER TABLE revocations ALTER COLUMN next_attempt_at TYPE text"))
    with capture_log_events() as logs:
        keeping = asyncio.create_task(replica.maintenance.housekeeping.run())

        async def has_complained_twice() -> bool:
            return len([line for line in logs if line.get("work") == "_revoke"]) >= 2

        await eventually(has_complained_twice)
        assert not keeping.done()
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_uses_that_could_not_be_written_are_kept(replicas: ReplicaFactory, relay: Relay, rows: Rows) -> None:
    replica = await replicas(database_url=relay.url, listens=False)
    connection = await rows.insert()
    replica.maintenance.last_used.connection_used(connection.id)
    replica.maintenance.last_used.key_used("key_1")
    await relay.cut()
    with pytest.raises(DatabaseUnavailable):
        await replica.maintenance.housekeeping.flush_last_used()
    await relay.restore()
    await replica.maintenance.housekeeping.flush_last_used()
    assert (await rows.held(connection.id)).connection.last_used_at is not None


async def test_no_use_costs_no_write(replicas: ReplicaFactory, relay: Relay) -> None:
    replica = await replicas(database_url=relay.url, listens=False)
    await relay.cut()
    await replica.maintenance.housekeeping.flush_last_used()
