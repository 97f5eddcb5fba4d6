"""Cached connections, their tenants, and the times of their last use."""

import asyncio

import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.errors import (
    ConnectionNotFound,
    ConnectionRevoked,
    DatabaseUnavailable,
)
from app.refresh.connection_cache import UsableToken
from app.store.connections import Connection
from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.refresh.steps import usable
from tests.support.bank import refresh_requests_at
from tests.support.eventually import eventually
from tests.support.relay import Relay
from tests.support.replica import CALLER, STRANGER, Replica
from tests.support.rows import TENANT, Rows


async def test_another_tenants_connection_is_not_found(replica: Replica, live: Connection) -> None:
    await usable(replica, live)
    for tenant, connection_id in ((STRANGER.tenant, live.id), (TENANT, "con_unknown")):
        with pytest.raises(ConnectionNotFound):
            await replica.refresh.tokens.get(tenant, connection_id)
        with pytest.raises(ConnectionNotFound):
            await replica.refresh.tokens.refresh(tenant, connection_id, None)


async def test_reads_of_another_tenant_are_not_cached_and_decrypt_no_token(
    replica: Replica, live: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> SecretStr:
        raise AssertionError("a token was decrypted")

    monkeypatch.setattr(KeyRing, "decrypt", fail)
    for _ in range(2):
        with pytest.raises(ConnectionNotFound):
            await replica.refresh.tokens.get(STRANGER.tenant, live.id)
    assert replica.refresh.tokens.cached == 0


async def test_concurrent_requests_of_the_owner_and_another_tenant_are_told_apart(
    replica: Replica, live: Connection
) -> None:
    results = await asyncio.gather(
        *(replica.refresh.tokens.get(tenant, live.id) for tenant in (STRANGER.tenant, TENANT) * 5),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [ConnectionNotFound, UsableToken] * 5
    assert replica.refresh.tokens.cached == 1


async def test_a_revocation_on_another_replica_takes_effect(
    replicas: ReplicaFactory, live: Connection, bank: SandboxClient
) -> None:
    first, second = await replicas(cache_ttl=300), await replicas(cache_ttl=300)
    await usable(second, live)
    await first.connections.disconnect.disconnect(CALLER, live.id)

    async def is_refused() -> bool:
        try:
            await usable(second, live)
        except ConnectionRevoked:
            return True
        return False

    await eventually(is_refused)


async def test_without_notifications_a_connection_is_cached_no_longer_than_the_cache_ttl(
    replicas: ReplicaFactory, rows: Rows, live: Connection
) -> None:
    replica = await replicas(listens=False, cache_ttl=5)
    await usable(replica, live)
    await rows.change_connection(live.id, status=ConnectionStatus.REVOKED)
    await usable(replica, live)
    replica.clock.advance(6)
    with pytest.raises(ConnectionRevoked):
        await usable(replica, live)


async def test_a_cached_token_is_used_while_the_database_is_unavailable(
    replicas: ReplicaFactory, relay: Relay, live: Connection, rows: Rows, bank: SandboxClient
) -> None:
    replica = await replicas(database_url=relay.url, listens=False, cache_ttl=300)
    soon = await rows.link(bank, seconds_left=60)
    await usable(replica, live)
    await usable(replica, soon)
    await relay.cut()
    assert (await usable(replica, live)).version == 1
    replica.clock.advance(35)
    assert (await usable(replica, soon)).version == 1
    replica.clock.advance(30)
    with pytest.raises(DatabaseUnavailable):
        await usable(replica, soon)
    assert await refresh_requests_at(bank) == {}


async def test_the_last_use_of_a_connection_is_recorded(replica: Replica, rows: Rows, live: Connection) -> None:
    await usable(replica, live)
    assert (await rows.stored(live.id)).connection.last_used_at is None
    await replica.maintenance.housekeeping.flush_last_used()
    assert (await rows.stored(live.id)).connection.last_used_at is not None


async def test_a_token_is_returned_to_callers_of_its_tenant_only(replica: Replica, live: Connection) -> None:
    token = await replica.connections.service.access_token(CALLER, live.id, min_ttl=0)
    assert token.version == 1
    with pytest.raises(ConnectionNotFound):
        await replica.connections.service.access_token(STRANGER, live.id, min_ttl=0)


async def test_a_tenant_reads_only_its_own_connections(replica: Replica, live: Connection) -> None:
    assert (await replica.connections.service.get(CALLER, live.id)).id == live.id
    with pytest.raises(ConnectionNotFound):
        await replica.connections.service.get(STRANGER, live.id)
    page = await replica.connections.service.page(CALLER, user_id=None, status=None, limit=9, cursor=None)
    assert [connection.id for connection in page.items] == [live.id]
    elsewhere = await replica.connections.service.page(STRANGER, user_id=None, status=None, limit=9, cursor=None)
    assert elsewhere.items == []


async def test_any_number_of_last_used_times_can_be_written(replica: Replica, rows: Rows, live: Connection) -> None:
    # More than the number of parameters that a statement can have.
    for number in range(40_000):
        replica.maintenance.last_used.connection_used(f"con_of_nobody_{number}")
    replica.maintenance.last_used.connection_used(live.id)
    await replica.maintenance.last_used.flush(replica.core.database)
    assert (await rows.stored(live.id)).connection.last_used_at is not None
