"""If the bank suddenly refuses many connections, only the first few end, and one refresh a minute is tried."""

import pytest

from app.errors import BankError, ReauthorizationRequired
from app.store.connections import Connection
from app.store.enums import ConnectionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import bank_clients, connections, refresh_attempts
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import refresh_requests_at
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows


async def begin_storm(replica: Replica, rows: Rows, bank: SandboxClient, count: int = 7) -> list[Connection]:
    """Have the bank refuse `count` connections one after the other, and return them."""
    linked = [await rows.link(bank, seconds_left=-1) for _ in range(count)]
    await bank.set_faults(token={"error": "invalid_grant"})
    for number, connection in enumerate(linked):
        with pytest.raises(ReauthorizationRequired if number < 5 else BankError):
            await replica.refresh.tokens.get(TENANT, connection.id)
    return linked


async def allow_trial(rows: Rows) -> None:
    """Let the minute until the next trial pass, and the pauses of all connections end."""
    async with rows.database.transaction() as transaction:
        await transaction.execute(bank_clients.update().values(trial_at=seconds_from_now(-1)))
        await transaction.execute(connections.update().values(retry_at=None))


async def test_only_the_first_few_connections_end(
    replica: Replica, replicas: ReplicaFactory, rows: Rows, bank: SandboxClient
) -> None:
    linked = await begin_storm(replica, rows, bank)
    statuses = [(await rows.stored(connection.id)).connection.status for connection in linked]
    assert statuses == [ConnectionStatus.REAUTHORIZATION_REQUIRED] * 5 + [ConnectionStatus.ACTIVE] * 2
    assert await rows.attempts(linked[5].id) == [(1, "invalid_grant_storm")]
    # The seventh was not even sent, and no other replica sends it.
    assert await rows.attempts(linked[6].id) == []
    other = await replicas()
    for connection in linked[5:]:
        with pytest.raises(BankError) as raised:
            await other.refresh.tokens.get(TENANT, connection.id)
        assert (raised.value.status, raised.value.code) == (502, "invalid_grant_storm")
        assert raised.value.retry_after is not None
        assert 30 < raised.value.retry_after <= 60
    assert await refresh_requests_at(bank) == {}


async def test_a_valid_access_token_keeps_working(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    await begin_storm(replica, rows, bank)
    live = await rows.link(bank, seconds_left=20)
    assert (await replica.refresh.tokens.get(TENANT, live.id)).version == 1


async def test_a_refused_trial_changes_nothing(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    *_, sixth, seventh = await begin_storm(replica, rows, bank)
    await allow_trial(rows)
    replica.refresh.tokens.invalidate_all()
    for connection, attempts in ((seventh, 1), (sixth, 1)):
        with pytest.raises(BankError) as raised:
            await replica.refresh.tokens.get(TENANT, connection.id)
        assert raised.value.code == "invalid_grant_storm"
        # Only the first was the trial of this minute.
        assert len(await rows.attempts(connection.id)) == attempts
        assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.ACTIVE


async def test_an_accepted_trial_ends_the_storm(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    *_, sixth, seventh = await begin_storm(replica, rows, bank)
    await bank.set_faults(token=None)
    await allow_trial(rows)
    replica.refresh.tokens.invalidate_all()
    for connection in (seventh, sixth):
        assert (await replica.refresh.tokens.get(TENANT, connection.id)).version == 2
    assert await rows.column(bank_clients, "storm_since") == [None]


async def test_refusals_long_ago_are_not_counted(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    await begin_storm(replica, rows, bank, count=5)
    async with rows.database.transaction() as transaction:
        await transaction.execute(refresh_attempts.update().values(ended_at=seconds_from_now(-61)))
    another = await rows.link(bank, seconds_left=-1)
    with pytest.raises(ReauthorizationRequired):
        await replica.refresh.tokens.get(TENANT, another.id)


async def test_a_storm_does_not_close_the_circuit_breaker(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    breaker = replica.bank.circuit_breaker
    await begin_storm(replica, rows, bank, count=5)
    for _ in range(4):
        breaker.record_failure(None, tenant=TENANT)
    sixth = await rows.link(bank, seconds_left=-1)
    with pytest.raises(BankError):
        await replica.refresh.tokens.get(TENANT, sixth.id)
    breaker.record_failure(None, tenant=TENANT)
    with pytest.raises(BankError) as raised:
        breaker.require_closed(TENANT)
    assert raised.value.code == "bank_left_alone"
