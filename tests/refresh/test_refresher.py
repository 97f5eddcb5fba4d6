import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.errors import (
    BankError,
    BankOutcomeUnknown,
    BankResponseInvalid,
    BankUnreachable,
    ConnectionRevoked,
    ReauthorizationRequired,
)
from app.store.connections import Connection
from app.store.enums import ConnectionStatus
from app.store.tables import revocations
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.refresh.steps import carry_out, claim_of
from tests.support.bank import living_families_at, refresh_requests_at, refreshes_at
from tests.support.eventually import eventually
from tests.support.gates import stop_after
from tests.support.hostile import HostileServer, json_reply
from tests.support.logs import capture_log_events
from tests.support.relay import Relay
from tests.support.replica import Replica
from tests.support.rows import Rows


@pytest.fixture
async def connection(rows: Rows, bank: SandboxClient) -> Connection:
    """One whose access token has expired."""
    return await rows.link(bank, seconds_left=-1)


async def test_a_refresh_is_claimed_carried_out_and_saved(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    before = (await rows.stored(connection.id)).tokens
    await carry_out(replica, await claim_of(replica, connection))
    stored = await rows.stored(connection.id)
    assert (stored.connection.version, stored.connection.status) == (2, ConnectionStatus.ACTIVE)
    assert 880 < stored.seconds_left <= 900
    assert stored.tokens is not None
    assert stored.tokens != before
    assert len(list(replica.refresh.spool.entries())) == 0
    assert (await bank.query(stored.tokens.access_token.get_secret_value(), "{ user { id } }")).status_code == 200


FAILURES = [
    ({"status": 500}, "bank_failed", "bank_failed"),
    ({"status": 503, "retry_after": 40}, "bank_failed", "bank_failed"),
    ({"status": 429, "retry_after": 40}, "bank_rate_limited", "rate_limited"),
    ({"error": "invalid_client"}, "bank_refused_client", "invalid_client"),
    ({"error": "invalid_scope"}, "bank_refused_request", "request_refused"),
    ({"garbage": True}, "bank_bad_answer", "bad_answer"),
    ({"half_answer": True}, "bank_bad_answer", "bad_answer"),
    ({"lose_answer": True}, "bank_outcome_unknown", "unknown"),
    ({"hang": 0.05}, "bank_outcome_unknown", "unknown"),
]


@pytest.mark.parametrize(("fault", "code", "outcome"), FAILURES)
async def test_every_failure_keeps_the_tokens_and_is_recorded_as_what_it_was(
    *,
    replica: Replica,
    rows: Rows,
    bank: SandboxClient,
    connection: Connection,
    fault: dict[str, float],
    code: str,
    outcome: str,
) -> None:
    before = (await rows.stored(connection.id)).tokens
    await bank.set_faults(token=fault)  # type: ignore[arg-type]
    claim = await claim_of(replica, connection)
    with capture_log_events() as logs, pytest.raises(BankError) as failed:
        await carry_out(replica, claim)
    stored = await rows.stored(connection.id)
    assert failed.value.code == code
    assert stored.tokens == before
    assert (stored.connection.status, stored.connection.version) == (ConnectionStatus.ACTIVE, 1)
    assert (stored.connection.failures, stored.connection.last_failure) == (1, outcome)
    assert stored.seconds_until_retry > 0
    if "retry_after" in fault:
        assert 30 < stored.seconds_until_retry <= 40
    assert await rows.attempts(connection.id) == [(1, outcome)]
    assert [line["outcome"] for line in logs if line["event"] == "refresh_ended"] == [outcome]


async def test_nothing_was_sent_to_an_unreachable_bank(
    replicas: ReplicaFactory, rows: Rows, hostile: HostileServer, connection: Connection
) -> None:
    hostile.announce(token_endpoint="http://bank.localhost:1/token")
    replica = await replicas(issuer=hostile.url)
    await rows.change_connection(connection.id, issuer=hostile.url)
    claim = await claim_of(replica, connection)
    with pytest.raises(BankUnreachable):
        await carry_out(replica, claim)
    assert await rows.attempts(connection.id) == [(1, "not_sent")]


async def test_without_a_discovery_document_nothing_is_claimed(
    replicas: ReplicaFactory, rows: Rows, hostile: HostileServer, connection: Connection
) -> None:
    replica = await replicas(issuer=hostile.url)
    await rows.change_connection(connection.id, issuer=hostile.url)
    with pytest.raises(BankResponseInvalid):
        await claim_of(replica, connection)
    assert await rows.attempts(connection.id) == []


async def test_a_process_that_was_delayed_after_the_claim_sends_nothing(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    claimed_at = replica.core.clock.monotonic()
    claim = await claim_of(replica, connection)
    replica.clock.advance(6)
    with pytest.raises(BankUnreachable):
        await replica.refresh.refresher.carry_out(replace(claim, claimed_at=claimed_at))
    assert await refresh_requests_at(bank) == {}
    assert await rows.attempts(connection.id) == [(1, "not_sent")]


async def test_a_withdrawn_consent_ends_the_connection(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.control("revoke-consent", sub=connection.subject)
    claim = await claim_of(replica, connection)
    with pytest.raises(ReauthorizationRequired):
        await carry_out(replica, claim)
    stored = await rows.stored(connection.id)
    assert stored.tokens is not None
    assert stored.connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert stored.connection.reauthorization_reason == "invalid_grant"


@pytest.mark.parametrize("fault", [{"lose_answer": True}, {"half_answer": True}])
async def test_after_a_lost_response_the_refresh_is_tried_once_more_and_then_ends_the_connection(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection, fault: dict[str, bool]
) -> None:
    await bank.set_faults(token={**fault, "times": 1})
    with pytest.raises(BankError):
        await carry_out(replica, await claim_of(replica, connection))
    await rows.allow_another_refresh(connection.id)
    with pytest.raises(ReauthorizationRequired):
        await carry_out(replica, await claim_of(replica, connection))
    assert (await rows.stored(connection.id)).connection.reauthorization_reason == "refresh_outcome_lost"


async def test_after_a_lost_response_the_refresh_succeeds_at_a_bank_that_allows_reuse(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.set_faults(token={"lose_answer": True, "times": 1}, refresh_reuse_grace=60)
    with pytest.raises(BankOutcomeUnknown):
        await carry_out(replica, await claim_of(replica, connection))
    await rows.allow_another_refresh(connection.id)
    await carry_out(replica, await claim_of(replica, connection))
    assert (await rows.stored(connection.id)).connection.version == 2


async def test_the_rotated_refresh_token_is_kept_even_without_an_access_token(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.set_faults(token={"token_response": {"access_token": None}, "times": 1})
    with pytest.raises(BankResponseInvalid):
        await carry_out(replica, await claim_of(replica, connection))
    stored = await rows.stored(connection.id)
    assert stored.connection.version == 2
    assert stored.seconds_left <= 0
    await carry_out(replica, await claim_of(replica, stored.connection))
    assert await refresh_requests_at(bank) == {"ok": 2}


async def test_tokens_of_another_user_are_rejected_and_revoked(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.set_faults(token={"claims": {"sub": "somebody else"}})
    with pytest.raises(ReauthorizationRequired):
        await carry_out(replica, await claim_of(replica, connection))
    assert (await rows.stored(connection.id)).connection.reauthorization_reason == "subject_mismatch"
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_scopes_that_cannot_be_stored_do_not_lose_the_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.set_faults(token={"token_response": {"scope": "openid \x00"}})
    await carry_out(replica, await claim_of(replica, connection))
    assert (await rows.stored(connection.id)).connection.version == 2


async def test_tokens_of_a_connection_that_was_revoked_meanwhile_are_revoked(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await claim_of(replica, connection)
    refresh = stop_after(monkeypatch, replica.bank.token_endpoint, "refresh")
    refreshing = asyncio.create_task(carry_out(replica, claim))
    await refresh.wait_until_reached()
    await rows.change_connection(connection.id, status=ConnectionStatus.REVOKED)
    refresh.open()
    with pytest.raises(ConnectionRevoked):
        await refreshing
    assert await rows.count(revocations) == 1
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0
    assert await rows.count(revocations) == 0


async def test_losing_the_database_between_response_and_save_loses_no_token(
    replicas: ReplicaFactory, relay: Relay, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    replica = await replicas(database_url=relay.url, listens=False)
    claim = await claim_of(replica, connection)
    await relay.cut()
    refreshing = asyncio.create_task(carry_out(replica, claim))

    async def is_spooled() -> bool:
        return len(list(replica.refresh.spool.entries())) == 1

    await eventually(is_spooled)
    assert await refreshes_at(bank) == 1
    await relay.restore()
    await refreshing
    stored = await rows.stored(connection.id)
    assert stored.connection.version == 2
    assert len(list(replica.refresh.spool.entries())) == 0


async def test_stopping_the_process_before_the_save_loses_no_token(
    replicas: ReplicaFactory, relay: Relay, rows: Rows, tmp_path: Path, connection: Connection
) -> None:
    stopped = await replicas(database_url=relay.url, data_dir=tmp_path, listens=False)
    claim = await claim_of(stopped, connection)
    await relay.cut()
    stopped.core.tasks.spawn(carry_out(stopped, claim), "refresh")

    async def is_spooled() -> bool:
        return len(list(stopped.refresh.spool.entries())) == 1

    await eventually(is_spooled)
    assert await stopped.core.tasks.drain(0) == ["refresh"]

    started = await replicas(data_dir=tmp_path)
    await started.refresh.refresher.replay()
    stored = await rows.stored(connection.id)
    assert stored.connection.version == 2
    assert stored.tokens is not None
    assert stored.tokens.refresh_token is not None
    await carry_out(started, await claim_of(started, stored.connection))
    assert len(list(started.refresh.spool.entries())) == 0


async def test_the_response_of_another_bank_is_saved_without_its_id_token(
    replicas: ReplicaFactory, rows: Rows, hostile: HostileServer, connection: Connection
) -> None:
    hostile.announce()
    hostile.replies["/token"] = json_reply({"access_token": "at", "expires_in": "60", "id_token": "no JWT"})
    replica = await replicas(issuer=hostile.url)
    await rows.change_connection(connection.id, issuer=hostile.url)
    await carry_out(replica, await claim_of(replica, connection))
    stored = await rows.stored(connection.id)
    assert stored.tokens is not None
    assert stored.tokens.access_token == SecretStr("at")
    assert stored.connection.access_token_lifetime == 60
