"""A broker that is configured with another client of the bank cannot harm the grants of the right one."""

import json

import pytest
from pydantic import SecretStr

from app.errors import BankClientMismatch
from app.spool.logins import UnsavedTokenResponse
from app.store.enums import ConnectionStatus, RefreshCause, SessionStatus
from app.store.tables import revocations
from sandbox.client import SandboxClient
from sandbox.settings import OTHER_CLIENT_ID, OTHER_CLIENT_SECRET
from tests.conftest import ApiFactory, ReplicaFactory
from tests.support.bank import living_families_at, refresh_requests_at
from tests.support.broker import Broker, Browser
from tests.support.journey import go_to_bank
from tests.support.logs import capture_log_events
from tests.support.replica import CALLER, Replica, consent
from tests.support.rows import TENANT, Rows

OTHER_CLIENT = {"stitch_client_id": OTHER_CLIENT_ID, "stitch_client_secret": SecretStr(OTHER_CLIENT_SECRET)}


@pytest.fixture
async def misconfigured(replica: Replica, replicas: ReplicaFactory) -> Replica:
    """A replica on the same database, with valid credentials of another client."""
    return await replicas(**OTHER_CLIENT)


async def test_another_clients_connection_is_never_refreshed(
    replica: Replica, misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank, seconds_left=-1)
    with capture_log_events() as logs:
        for _ in range(3):
            with pytest.raises(BankClientMismatch, match="BROKER_STITCH_CLIENT_ID"):
                await misconfigured.refresh.tokens.get(TENANT, connection.id)
            with pytest.raises(BankClientMismatch):
                await misconfigured.refresh.tokens.refresh(TENANT, connection.id, None)
    assert [entry["event"] for entry in logs].count("bank_client_mismatch") == 1
    assert await refresh_requests_at(bank) == {}
    assert (await rows.stored(connection.id)).connection == connection
    assert (await replica.refresh.tokens.get(TENANT, connection.id)).version == 2


async def test_another_clients_valid_access_token_is_not_used(
    misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    for _ in range(2):
        with pytest.raises(BankClientMismatch):
            await misconfigured.refresh.tokens.get(TENANT, connection.id)


async def test_another_clients_refresh_cannot_be_claimed(
    misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank, seconds_left=-1)
    claim = await misconfigured.refresh.refresher.claim(
        tenant=TENANT, connection_id=connection.id, version=1, cause=RefreshCause.EXPIRED
    )
    assert claim is None
    assert (await rows.stored(connection.id)).connection.fence == 0


async def test_a_connection_of_another_issuer_is_not_used_either(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    await rows.change_connection(connection.id, issuer="https://another.example")
    with pytest.raises(BankClientMismatch):
        await replica.refresh.tokens.get(TENANT, connection.id)


async def test_only_the_client_that_was_granted_a_token_revokes_it(
    replica: Replica, misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    await misconfigured.connections.disconnect.disconnect(CALLER, connection.id)
    assert await misconfigured.connections.revocation_worker.revoke_due() == 0
    assert await rows.count(revocations) == await living_families_at(bank) == 1
    assert await replica.connections.revocation_worker.revoke_due() == 1
    assert await rows.count(revocations) == await living_families_at(bank) == 0


async def test_a_callback_at_a_replica_with_another_client_uses_nothing_up(
    replica: Replica, misconfigured: Replica, bank: SandboxClient
) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    with pytest.raises(BankClientMismatch) as raised:
        await misconfigured.call_back(location)
    assert (raised.value.status, raised.value.code) == (503, "bank_client_mismatch")
    assert (await bank.ledger()).totals.token_requests == {}
    assert (await replica.call_back(location)).status is SessionStatus.COMPLETED


async def test_another_clients_exchange_is_not_resumed(
    replica: Replica, misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    session = await replica.start_login()
    await rows.change_session(session.id, status=SessionStatus.EXCHANGING, lease_until=None)
    await misconfigured.maintenance.housekeeping.resume_overdue_logins()
    await misconfigured.core.tasks.drain(5)
    assert (await replica.login.sessions.get(CALLER, session.id)).status is SessionStatus.EXCHANGING
    await replica.maintenance.housekeeping.resume_overdue_logins()
    assert (await replica.ended(session)).error_code == "exchange_interrupted"


async def test_a_renewal_binds_the_connection_to_the_client_that_made_it(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    right = connection.bank_client
    await rows.change_connection(connection.id, client_id="an earlier client")
    assert (await replica.log_in(bank, connection_id=connection.id)).status is SessionStatus.COMPLETED
    renewed = (await rows.stored(connection.id)).connection
    assert (renewed.bank_client, renewed.status) == (right, ConnectionStatus.ACTIVE)
    assert (await replica.refresh.tokens.get(TENANT, connection.id)).version == 2


async def test_every_endpoint_reports_the_mismatch(
    sign_up: ApiFactory, broker: Broker, bank: SandboxClient, browser: Browser
) -> None:
    api = await sign_up()
    connection = await broker.rows.link(bank, tenant=api.tenant)
    await broker.rows.change_connection(connection.id, client_id=OTHER_CLIENT_ID)
    before = (await bank.ledger()).totals
    for answer in (
        await api.post(f"/v1/connections/{connection.id}/token"),
        await api.post(f"/v1/connections/{connection.id}/refresh"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "bank_client_mismatch")
    answer = await api.query(connection.id)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["reason"]) == (503, "bank_client_mismatch")
    assert (await bank.ledger()).totals == before
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    await broker.rows.change_session(session["id"], client_id=OTHER_CLIENT_ID)
    page = await browser.open(location)
    assert page.status_code == 503
    assert "try again in a moment" in page.text
    assert (await api.session(session["id"]))["status"] == "pending"


async def test_a_stored_response_waits_for_a_replica_with_the_right_client(
    replica: Replica, misconfigured: Replica, rows: Rows, bank: SandboxClient
) -> None:
    tokens = await bank.link()
    session = await replica.start_login()
    await rows.change_session(session.id, status=SessionStatus.EXCHANGING, lease_until=None)
    body = SecretStr(json.dumps(tokens))
    unsaved = UnsavedTokenResponse(session.tenant, session.id, misconfigured.core.clock.now(), body)
    await misconfigured.login.token_responses.store_and_complete(unsaved)
    stored = await replica.login.sessions.get(CALLER, session.id)
    assert stored.status is SessionStatus.EXCHANGING
    assert stored.token_response is not None
    assert await rows.count(revocations) == 0
    # The id_token has another login's nonce, so the right client refuses it, and only then is the grant revoked.
    await rows.change_session(session.id, lease_until=None)
    await replica.maintenance.housekeeping.resume_overdue_logins()
    assert (await replica.ended(session)).error_code == "id_token_nonce"
    assert await rows.count(revocations) == 1
