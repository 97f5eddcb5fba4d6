import asyncio

import pytest
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.maintenance.housekeeping import Housekeeping, HousekeepingPeriods
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


def housekeeping_of(replica: Replica, *, sessions_per_transaction: int = 100) -> Housekeeping:
    """Return housekeeping that runs without long pauses."""
    return Housekeeping(
        replica.core,
        login=replica.login,
        revocation_worker=replica.connections.revocation_worker,
        last_used=replica.maintenance.last_used,
        periods=HousekeepingPeriods(sessions=0.05, revocations=0.05, last_used=0.05, outbox=0.05, after_error=0.05),
        sessions_per_transaction=sessions_per_transaction,
    )


async def test_an_unfinished_login_expires(replica: Replica, rows: Rows) -> None:
    session = await replica.start_login()
    await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await replica.maintenance.housekeeping.expire_logins()
    ended = await replica.login.sessions.get(CALLER, session.id)
    assert ended.status is SessionStatus.EXPIRED
    assert (ended.code_verifier, ended.authorization_url, ended.ticket) == (None, None, None)


async def test_two_replicas_expire_logins_without_blocking_each_other(replicas: ReplicaFactory, rows: Rows) -> None:
    both = [await replicas(), await replicas()]
    sessions = [await both[0].start_login() for _ in range(10)]
    for session in sessions:
        await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await asyncio.gather(*(housekeeping_of(replica, sessions_per_transaction=3).expire_logins() for replica in both))
    for session in sessions:
        assert (await both[0].login.sessions.get(CALLER, session.id)).ticket is None


async def test_it_runs_by_itself_and_continues_after_an_outage(
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
        running = asyncio.create_task(housekeeping_of(replica).run())

        async def has_paused() -> bool:
            return {line["event"] for line in logs} >= {"housekeeping_paused"}

        await eventually(has_paused)
    await relay.restore()

    async def is_done() -> bool:
        stored = await rows.stored(connection.id)
        return await rows.count(revocations) == 0 and stored.connection.last_used_at is not None

    await eventually(is_done)
    assert await living_families_at(bank) == 0
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_unexpected_error_is_logged_and_stops_nothing(replica: Replica) -> None:
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(text("ALTER TABLE revocations ALTER COLUMN next_attempt_at TYPE text"))
    with capture_log_events() as logs:
        running = asyncio.create_task(housekeeping_of(replica).run())

        async def has_logged_twice() -> bool:
            return len([line for line in logs if line.get("work") == "_revoke"]) >= 2

        await eventually(has_logged_twice)
        assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_last_used_times_that_could_not_be_written_are_kept(
    replicas: ReplicaFactory, relay: Relay, rows: Rows
) -> None:
    replica = await replicas(database_url=relay.url, listens=False)
    connection = await rows.insert()
    replica.maintenance.last_used.connection_used(connection.id)
    replica.maintenance.last_used.key_used("key_1")
    await relay.cut()
    with pytest.raises(DatabaseUnavailable):
        await replica.maintenance.housekeeping.flush_last_used()
    await relay.restore()
    await replica.maintenance.housekeeping.flush_last_used()
    assert (await rows.stored(connection.id)).connection.last_used_at is not None


async def test_without_uses_nothing_is_written(replicas: ReplicaFactory, relay: Relay) -> None:
    replica = await replicas(database_url=relay.url, listens=False)
    await relay.cut()
    await replica.maintenance.housekeeping.flush_last_used()
