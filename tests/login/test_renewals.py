"""Renewing a connection by another login."""

import asyncio

import pytest

from app.store.enums import ConnectionStatus, SessionStatus
from app.store.tables import connections
from sandbox.client import SandboxClient
from tests.support.bank import living_families_at, refreshes_at
from tests.support.gates import stop_after
from tests.support.replica import CALLER, Replica, consent
from tests.support.rows import TENANT, Rows


async def test_a_renewal_keeps_the_connection_and_its_id(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    connection = await rows.link(bank)
    await rows.change_connection(
        connection.id,
        status=ConnectionStatus.REAUTHORIZATION_REQUIRED,
        reauthorization_reason="invalid_grant",
        failures=3,
        last_failure="unknown",
    )
    session = await replica.log_in(bank, connection_id=connection.id)
    assert (session.status, session.connection_id) == (SessionStatus.COMPLETED, connection.id)
    renewed = (await rows.stored(connection.id)).connection
    assert (renewed.status, renewed.version) == (ConnectionStatus.ACTIVE, 2)
    assert (renewed.reauthorization_reason, renewed.failures, renewed.last_failure) == (None, 0, None)
    assert await rows.count(connections) == 1
    token = await replica.refresh.tokens.get(TENANT, connection.id)
    assert (await bank.query(token.access_token.get_secret_value(), "{ user { id } }")).status_code == 200


async def test_a_renewal_by_another_user_is_rejected_and_the_old_tokens_stay(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    before = await rows.stored(connection.id)
    session = await replica.log_in(bank, username="johan", connection_id=connection.id)
    assert (session.status, session.error_code) == (SessionStatus.FAILED, "subject_mismatch")
    after = await rows.stored(connection.id)
    assert (after.tokens, after.connection) == (before.tokens, before.connection)
    await replica.connections.revocation_worker.revoke_due()
    active = [family.sub for family in (await bank.ledger()).families if family.alive]
    assert active == [connection.subject]


async def test_a_connection_that_was_revoked_during_its_renewal_stays_revoked(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    session = await replica.start_login(connection_id=connection.id)
    location = await consent(bank, replica.authorization_url(session))
    await replica.connections.disconnect.disconnect(CALLER, connection.id)
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "connection_revoked")
    assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.REVOKED
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_a_running_refresh_does_not_overwrite_a_renewal(
    replica: Replica, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await rows.link(bank, seconds_left=-1)
    refresh = stop_after(monkeypatch, replica.bank.token_endpoint, "refresh")
    refreshing = asyncio.create_task(replica.refresh.tokens.get(TENANT, connection.id))
    await refresh.wait_until_reached()
    assert await refreshes_at(bank) == 1
    assert (await replica.log_in(bank, connection_id=connection.id)).status is SessionStatus.COMPLETED
    renewed = await rows.stored(connection.id)
    refresh.open()
    token = await refreshing
    after = await rows.stored(connection.id)
    assert (after.connection.version, after.tokens) == (2, renewed.tokens)
    assert token.version == 2
    assert await rows.attempts(connection.id) == [(1, "superseded")]
