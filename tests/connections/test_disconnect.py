import asyncio

import pytest
from pydantic import JsonValue, SecretStr

from app.base.encryption import KeyRing
from app.connections.disconnect import Disconnector
from app.errors import ConnectionNotFound, ConnectionRevoked, NotFound
from app.observability.metrics import REVOCATIONS
from app.store import audit
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.session_secrets import session_associated_data
from app.store.tables import revocations, sessions, tokens, webhook_deliveries, webhook_queues
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import living_families_at
from tests.support.gates import stop_before
from tests.support.hostile import HostileServer, json_reply
from tests.support.logs import capture_log_events
from tests.support.replica import CALLER, STRANGER, Replica
from tests.support.rows import TENANT, Rows


async def test_a_disconnected_connection_is_a_tombstone_without_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    for _ in range(2):
        await replica.connections.disconnect.disconnect(CALLER, connection.id)
    stored = await rows.stored(connection.id)
    assert (stored.connection.status, stored.tokens) == (ConnectionStatus.REVOKED, None)
    assert (stored.connection.refreshable, stored.connection.access_token_expires_at) == (False, None)
    assert await living_families_at(bank) == 0
    assert (await bank.ledger()).totals.revocations == 1
    with pytest.raises(ConnectionRevoked):
        await replica.refresh.tokens.get(TENANT, connection.id)


async def test_another_tenants_connection_is_not_disconnected(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    with pytest.raises(ConnectionNotFound):
        await replica.connections.disconnect.disconnect(STRANGER, connection.id)
    assert await living_families_at(bank) == 1


async def test_the_audit_log_records_who_disconnected_a_connection(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    await replica.connections.disconnect.disconnect(CALLER, connection.id)
    async with replica.core.database.transaction() as transaction:
        page = await audit.list_events(transaction, TENANT, connection_id=connection.id, limit=9, cursor=None)
    assert [(event.actor, event.action) for event in page.items] == [(CALLER.id, "connection.revoked")]
    assert page.items[0].detail == {"reason": "disconnected"}


@pytest.mark.parametrize("fault", [{"status": 503}, {"lose_answer": True}, {"error": "invalid_client"}])
async def test_a_failed_revocation_is_retried_later(
    replica: Replica, rows: Rows, bank: SandboxClient, fault: dict[str, int]
) -> None:
    connection = await rows.link(bank)
    await bank.set_faults(revocation={**fault, "times": 1})
    with capture_log_events() as logs:
        await replica.connections.disconnect.disconnect(CALLER, connection.id)
    assert "revocation_postponed" in [line["event"] for line in logs]
    assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.REVOKED
    assert await rows.count(revocations) == 1
    assert await replica.connections.revocation_worker.revoke_due() == 0
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(revocations.update().values(next_attempt_at=revocations.c.created_at))
    assert await replica.connections.revocation_worker.revoke_due() == 1
    assert await rows.count(revocations) == 0
    assert await living_families_at(bank) == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"error": "invalid_token"}, "revoked"),
        ({"error": "invalid_grant"}, "revoked"),
        ({"error": "unsupported_token_type"}, "revocation_impossible"),
        ({"status": 404}, "revocation_impossible"),
        ({"status": 405}, "revocation_impossible"),
    ],
)
async def test_a_revocation_that_cannot_succeed_ends(
    replica: Replica, rows: Rows, bank: SandboxClient, fault: dict[str, JsonValue], outcome: str
) -> None:
    before = REVOCATIONS.labels(outcome=outcome)._value.get()
    connection = await rows.link(bank)
    await bank.set_faults(revocation=fault)
    with capture_log_events() as logs:
        await replica.connections.disconnect.disconnect(CALLER, connection.id)
    assert await rows.count(revocations) == 0
    assert REVOCATIONS.labels(outcome=outcome)._value.get() == before + 1
    abandoned = [line["event"] for line in logs if line["event"].startswith("revocation_")]
    assert abandoned == ([] if outcome == "revoked" else ["revocation_abandoned"])


async def test_without_a_revocation_endpoint_tokens_wait_in_silence_until_there_is_one(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient
) -> None:
    await bank.set_faults(discovery={"document": {"revocation_endpoint": None}})
    without = await replicas()
    with capture_log_events() as logs:
        for _ in range(3):
            await without.connections.disconnect.disconnect(CALLER, (await rows.link(bank)).id)
            async with without.core.database.transaction() as transaction:
                await transaction.execute(revocations.update().values(next_attempt_at=revocations.c.created_at))
            assert await without.connections.revocation_worker.revoke_due()
            assert await without.connections.revocation_worker.revoke_due() == 0
    assert [line["event"] for line in logs if line["event"].startswith("revocation_")] == [
        "revocation_endpoint_missing"
    ]
    assert await living_families_at(bank) == 3
    await bank.set_faults(discovery=None)
    with_endpoint = await replicas()
    async with with_endpoint.core.database.transaction() as transaction:
        await transaction.execute(revocations.update().values(next_attempt_at=revocations.c.created_at))
    assert await with_endpoint.connections.revocation_worker.revoke_due() == 3
    assert await rows.count(revocations) == 0
    assert await living_families_at(bank) == 0


async def test_the_retry_waits_as_long_as_the_bank_requests(
    replicas: ReplicaFactory, rows: Rows, hostile: HostileServer, bank: SandboxClient
) -> None:
    hostile.announce()
    hostile.replies["/revocation"] = json_reply({}, 429, retry_after="1000")
    replica = await replicas(issuer=hostile.url)
    connection = await rows.link(bank)
    await rows.change_connection(connection.id, issuer=hostile.url)
    await replica.connections.disconnect.disconnect(CALLER, connection.id)
    (due_at,), (created_at,) = [await rows.column(revocations, name) for name in ("next_attempt_at", "created_at")]
    assert (due_at - created_at).total_seconds() > 900


async def test_erasing_a_user_erases_its_connections_and_sessions(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    linked = await replica.log_in(bank)
    pending = await replica.start_login()
    awaiting = await replica.log_in(bank, require_confirmation=True)
    renewal = await replica.log_in(bank, connection_id=linked.connection_id, require_confirmation=True)
    other = await replica.start_login(user_id="user-2")
    assert renewal.status is SessionStatus.AWAITING_CONFIRMATION
    for _ in range(2):
        await replica.connections.disconnect.erase_user(CALLER, "user-1")
    while await replica.connections.revocation_worker.revoke_due():
        pass
    for session in (linked, pending, awaiting, renewal):
        with pytest.raises(NotFound):
            await replica.login.sessions.get(CALLER, session.id)
    assert await rows.column(sessions, "id") == [other.id]
    for session in (linked, awaiting):
        assert session.connection_id is not None
        connection = (await rows.stored(session.connection_id)).connection
        assert (connection.status, connection.subject, connection.metadata) == (ConnectionStatus.REVOKED, "", {})
    assert await rows.count(tokens) == 0
    assert await living_families_at(bank) == 0


async def test_concurrent_calls_share_the_erasure_of_a_user_which_runs_in_batches(
    replica: Replica, bank: SandboxClient, rows: Rows
) -> None:
    disconnector = Disconnector(replica.core, revocation_worker=replica.connections.revocation_worker, batch_size=2)
    await replica.webhooks.service.create(CALLER, "http://127.0.0.1:9/", [])
    linked = await replica.log_in(bank)
    for _ in range(4):
        await replica.login.sessions.cancel(CALLER, (await replica.start_login()).id)
    assert await rows.count(webhook_deliveries) == 5
    await asyncio.gather(
        *(disconnector.erase_user(CALLER, "user-1") for _ in range(5)),
    )
    assert await rows.count(sessions) == 0
    assert await rows.count(webhook_deliveries) == await rows.count(webhook_queues) == 0
    assert linked.connection_id is not None
    assert (await rows.stored(linked.connection_id)).connection.status is ConnectionStatus.REVOKED
    async with replica.core.database.transaction() as transaction:
        page = await audit.list_events(transaction, TENANT, connection_id=None, limit=200, cursor=None)
    # The first erasure, and one for the calls that came while it was running.
    assert [event.action for event in page.items].count("user.erased") == 2


async def test_a_user_with_the_same_id_in_another_tenant_is_not_erased(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank, tenant="elsewhere")
    await replica.connections.disconnect.erase_user(CALLER, "user-1")
    assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.ACTIVE


async def test_a_user_whose_tokens_cannot_be_decrypted_can_be_erased(
    replica: Replica, bank: SandboxClient, rows: Rows
) -> None:
    connection = await Rows(replica.core.database, KeyRing({"lost": bytes(32)})).insert()
    await replica.connections.disconnect.erase_user(CALLER, "user-1")
    assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.REVOKED


async def test_a_disconnection_does_not_wait_for_a_bank_that_hangs(
    replica: Replica, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await rows.link(bank)
    stop_before(monkeypatch, replica.bank.token_endpoint, "revoke")
    async with asyncio.timeout(20):
        await replica.connections.disconnect.disconnect(CALLER, connection.id)
    assert await living_families_at(bank) == 1


async def test_disconnecting_ends_a_renewal_that_awaits_its_confirmation(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    linked = await replica.log_in(bank)
    assert linked.connection_id is not None
    renewal = await replica.log_in(bank, connection_id=linked.connection_id, require_confirmation=True)
    await replica.connections.disconnect.disconnect(CALLER, linked.connection_id)
    while await replica.connections.revocation_worker.revoke_due():
        pass
    ended = await replica.login.sessions.get(CALLER, renewal.id)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "connection_revoked")
    assert (ended.token_response, ended.confirmation_code) == (None, None)
    assert await living_families_at(bank) == 0


async def test_a_user_whose_token_response_cannot_be_decrypted_can_be_erased(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    linked = await replica.log_in(bank)
    renewal = await replica.log_in(bank, connection_id=linked.connection_id, require_confirmation=True)
    lost = KeyRing({"lost": bytes(32)}).encrypt(SecretStr("{}"), session_associated_data("token_response", renewal.id))
    await rows.change_session(renewal.id, token_response=lost)
    await replica.connections.disconnect.erase_user(CALLER, "user-1")
    with pytest.raises(NotFound):
        await replica.login.sessions.get(CALLER, renewal.id)
