import asyncio
from dataclasses import replace

import pytest

from app.errors import (
    BankError,
    BankTimeout,
    ConnectionNotReady,
    ConnectionRevoked,
    ReauthorizationRequired,
)
from app.refresh.connection_cache import UsableToken
from app.store.connections import Connection
from app.store.enums import ConnectionStatus
from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.refresh.steps import usable
from tests.support.bank import refresh_requests_at, refreshes_at
from tests.support.gates import stop_after, stop_before
from tests.support.replica import OPTIONS, Replica
from tests.support.rows import TENANT, Rows


async def test_a_valid_token_is_returned_without_a_refresh(
    replica: Replica, bank: SandboxClient, live: Connection
) -> None:
    token = await usable(replica, live)
    assert (token.version, token.scopes, token.lifetime) == (1, live.scopes, 900)
    assert token.access_token.get_secret_value() not in repr(token)
    assert 880 < token.valid_until - replica.core.clock.monotonic() <= 900
    assert (await bank.query(token.access_token.get_secret_value(), "{ user { id } }")).status_code == 200
    assert await refreshes_at(bank) == 0


@pytest.mark.parametrize("seconds_left", [-1000, 0, 29])
async def test_a_token_that_expires_soon_is_refreshed_first(
    replica: Replica, rows: Rows, bank: SandboxClient, seconds_left: float
) -> None:
    connection = await rows.link(bank, seconds_left=seconds_left)
    assert (await usable(replica, connection)).version == 2
    assert (await usable(replica, connection)).version == 2
    assert await refreshes_at(bank) == 1


async def test_requests_on_two_replicas_share_one_refresh(
    replicas: ReplicaFactory, bank: SandboxClient, expired: Connection
) -> None:
    first, second = await replicas(), await replicas()
    await bank.set_faults(token={"delay_after": 0.2})
    calls = [usable(replica, expired) for replica in (first, second) for _ in range(50)]
    tokens = await asyncio.gather(*calls)
    assert len({token.access_token.get_secret_value() for token in tokens}) == 1
    assert {token.version for token in tokens} == {2}
    assert await refresh_requests_at(bank) == {"ok": 1}


async def test_replicas_without_notifications_share_one_refresh_too(
    replicas: ReplicaFactory, bank: SandboxClient, expired: Connection
) -> None:
    first, second = await replicas(listens=False), await replicas(listens=False)
    await bank.set_faults(token={"delay_after": 0.2})
    await asyncio.gather(*(usable(replica, expired) for replica in (first, second) for _ in range(5)))
    assert await refresh_requests_at(bank) == {"ok": 1}


async def test_rejections_of_one_version_cause_one_refresh(
    replicas: ReplicaFactory, bank: SandboxClient, live: Connection
) -> None:
    both = [await replicas(), await replicas()]
    rejected = [(replica, await usable(replica, live)) for replica in both]
    calls = [replica.refresh.tokens.replace_rejected(TENANT, token) for replica, token in rejected for _ in range(20)]
    successors = await asyncio.gather(*calls)
    assert {token.version for token in successors if token} == {2}
    late = await both[0].refresh.tokens.replace_rejected(TENANT, rejected[0][1])
    assert late is not None
    assert late.version == 2
    assert await refresh_requests_at(bank) == {"ok": 1}


async def test_refreshes_end_if_the_bank_rejects_every_token(
    replica: Replica, rows: Rows, bank: SandboxClient, live: Connection
) -> None:
    token: UsableToken | None = await usable(replica, live)
    versions = []
    while token is not None:
        versions.append(token.version)
        token = await replica.refresh.tokens.replace_rejected(TENANT, token)
    assert versions == [1, 2, 3, 4, 5, 6]
    assert await refreshes_at(bank) == 5
    assert (await rows.stored(live.id)).connection.status is ConnectionStatus.ACTIVE


@pytest.mark.parametrize("fault", [{"status": 503}, {"lose_answer": True}, {"error": "invalid_client"}])
async def test_a_token_that_is_still_valid_is_used_while_the_bank_cannot_refresh(
    replica: Replica, rows: Rows, bank: SandboxClient, fault: dict[str, int]
) -> None:
    connection = await rows.link(bank, seconds_left=20)
    await bank.set_faults(token=fault)  # type: ignore[arg-type]
    for _ in range(3):
        assert (await usable(replica, connection)).version == 1
    assert len(await rows.attempts(connection.id)) == 1


async def test_concurrent_requests_share_one_failed_refresh(
    replica: Replica, rows: Rows, bank: SandboxClient, expired: Connection
) -> None:
    await bank.set_faults(token={"status": 503, "retry_after": 50})
    results = await asyncio.gather(*(usable(replica, expired) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, BankError) for result in results)
    assert await rows.attempts(expired.id) == [(1, "bank_failed")]
    with pytest.raises(BankError) as later:
        await usable(replica, expired)
    assert later.value.code == "bank_failed"
    assert later.value.retry_after is not None
    assert 40 < later.value.retry_after <= 50


async def test_an_unknown_outcome_is_reported_as_a_timeout_until_the_lease_ends(
    replica: Replica, rows: Rows, bank: SandboxClient, expired: Connection
) -> None:
    await bank.set_faults(token={"lose_answer": True, "times": 1})
    for _ in range(2):
        with pytest.raises(BankTimeout) as failed:
            await usable(replica, expired)
        assert failed.value.code == "bank_outcome_unknown"
    await rows.allow_another_refresh(expired.id)
    for _ in range(2):
        with pytest.raises(ReauthorizationRequired):
            await usable(replica, expired)
    assert await rows.attempts(expired.id) == [(1, "unknown"), (1, "refresh_outcome_lost")]


async def test_a_withdrawn_consent_causes_one_request_to_the_bank(
    replica: Replica, rows: Rows, bank: SandboxClient, expired: Connection
) -> None:
    await bank.control("revoke-consent", sub=expired.subject)
    results = await asyncio.gather(*(usable(replica, expired) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, ReauthorizationRequired) for result in results)
    assert await refresh_requests_at(bank) == {"invalid_grant": 1}
    assert (await rows.stored(expired.id)).connection.reauthorization_reason == "invalid_grant"


async def test_after_many_failures_the_bank_gets_no_requests(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    await bank.set_faults(token={"status": 503})
    connections = [await rows.link(bank, seconds_left=-1) for _ in range(6)]
    for connection in connections[:5]:
        with pytest.raises(BankError):
            await usable(replica, connection)
    with pytest.raises(BankError) as rejected:
        await usable(replica, connections[5])
    assert rejected.value.code == "bank_left_alone"
    assert await rows.attempts(connections[5].id) == []


async def test_rejected_requests_do_not_stop_the_others(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    await bank.set_faults(token={"error": "invalid_scope", "times": 5})
    for _ in range(5):
        with pytest.raises(BankError):
            await usable(replica, await rows.link(bank, seconds_left=-1))
    assert (await usable(replica, await rows.link(bank, seconds_left=-1))).version == 2


async def test_a_caller_that_disconnects_does_not_cancel_the_refresh(
    replica: Replica, rows: Rows, expired: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = stop_after(monkeypatch, replica.bank.token_endpoint, "refresh")
    caller = asyncio.create_task(usable(replica, expired))
    await refresh.wait_until_reached()
    caller.cancel()
    await asyncio.wait({caller})
    refresh.open()
    assert await replica.core.tasks.drain(20) == []
    assert (await rows.stored(expired.id)).connection.version == 2


async def test_a_caller_stops_waiting_after_a_while_and_the_refresh_continues(
    replicas: ReplicaFactory, rows: Rows, expired: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(options=replace(OPTIONS, refresh_wait=0.1))
    refresh = stop_before(monkeypatch, replica.bank.token_endpoint, "refresh")
    with pytest.raises(BankTimeout) as early:
        await usable(replica, expired)
    assert (early.value.code, early.value.retry_after) == ("refresh_under_way", 2)
    refresh.open()
    assert await replica.core.tasks.drain(20) == []
    assert (await rows.stored(expired.id)).connection.version == 2


async def test_a_request_waits_until_the_lease_of_a_lost_replica_ends(
    replica: Replica, rows: Rows, bank: SandboxClient, expired: Connection
) -> None:
    await rows.change_connection(expired.id, lease_until=seconds_from_now(0.5))
    assert (await usable(replica, expired)).version == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (ConnectionStatus.PENDING_CONFIRMATION, ConnectionNotReady),
        (ConnectionStatus.REVOKED, ConnectionRevoked),
        (ConnectionStatus.REAUTHORIZATION_REQUIRED, ReauthorizationRequired),
    ],
)
async def test_the_error_says_why_a_connection_cannot_be_used(
    replica: Replica, rows: Rows, live: Connection, status: ConnectionStatus, error: type[Exception]
) -> None:
    await rows.change_connection(live.id, status=status)
    with pytest.raises(error):
        await usable(replica, live)


async def test_a_token_is_refreshed_if_it_is_requested_for_longer_than_it_is_valid(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank, seconds_left=500)
    assert (await usable(replica, connection, min_ttl=400)).version == 1
    assert (await usable(replica, connection, min_ttl=600)).version == 2


async def test_a_request_for_longer_than_any_token_is_valid_refreshes_once(
    replica: Replica, bank: SandboxClient, expired: Connection
) -> None:
    for _ in range(3):
        assert (await usable(replica, expired, min_ttl=100_000)).version == 2
    assert await refreshes_at(bank) == 1


async def test_tokens_with_a_short_lifetime_are_used(
    replica: Replica, bank: SandboxClient, expired: Connection
) -> None:
    await bank.control("access-token-ttl", seconds=20)
    for _ in range(3):
        assert (await usable(replica, expired)).version == 2
    assert await refreshes_at(bank) == 1


async def test_a_requested_refresh_applies_to_the_given_version(
    replica: Replica, rows: Rows, bank: SandboxClient, live: Connection
) -> None:
    await asyncio.gather(*(replica.refresh.tokens.refresh(TENANT, live.id, 1) for _ in range(5)))
    await replica.refresh.tokens.refresh(TENANT, live.id, 1)
    assert (await rows.stored(live.id)).connection.version == 2
    await replica.refresh.tokens.refresh(TENANT, live.id, None)
    assert (await rows.stored(live.id)).connection.version == 3
    assert await refreshes_at(bank) == 2
