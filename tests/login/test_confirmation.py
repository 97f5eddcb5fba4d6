import asyncio

import pytest
from pydantic import SecretStr

from app.errors import Conflict, ConnectionNotReady, ConnectionRevoked, NotFound, UnprocessableRequest
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session
from app.store.tables import connections, revocations
from sandbox.client import SandboxClient
from tests.support.bank import living_families_at
from tests.support.replica import CALLER, STRANGER, Replica, consent
from tests.support.rows import TENANT, Rows, now_at


@pytest.fixture
async def awaiting(replica: Replica, bank: SandboxClient) -> Session:
    """A login that only lacks its confirmation."""
    session = await replica.log_in(bank, require_confirmation=True)
    assert session.status is SessionStatus.AWAITING_CONFIRMATION
    return session


def code_of(replica: Replica, session: Session) -> SecretStr:
    code = replica.login.confirmation.code_of(session)
    assert code is not None
    return SecretStr(code)


async def test_an_unconfirmed_link_cannot_be_used(replica: Replica, awaiting: Session) -> None:
    assert awaiting.connection_id is not None
    with pytest.raises(ConnectionNotReady):
        await replica.refresh.tokens.get(TENANT, awaiting.connection_id)


async def test_the_right_code_makes_the_link_usable_once(replica: Replica, rows: Rows, awaiting: Session) -> None:
    code = code_of(replica, awaiting)
    confirmed = await replica.login.confirmation.confirm(CALLER, awaiting.id, code)
    assert (confirmed.status, confirmed.connection_id) == (SessionStatus.COMPLETED, awaiting.connection_id)
    assert (confirmed.token_response, confirmed.confirmation_code) == (None, None)
    assert replica.login.confirmation.code_of(confirmed) is None
    assert awaiting.connection_id is not None
    assert (await replica.refresh.tokens.get(TENANT, awaiting.connection_id)).version == 1
    with pytest.raises(Conflict) as again:
        await replica.login.confirmation.confirm(CALLER, awaiting.id, code)
    assert again.value.code == "nothing_to_confirm"
    assert await rows.count(revocations) == 0


async def test_a_wrong_code_confirms_nothing(replica: Replica, awaiting: Session) -> None:
    for wrong in ("", "x" * 43, code_of(replica, awaiting).get_secret_value()[:-1]):
        with pytest.raises(UnprocessableRequest) as rejected:
            await replica.login.confirmation.confirm(CALLER, awaiting.id, SecretStr(wrong))
        assert rejected.value.code == "confirmation_code_wrong"
    assert (await replica.login.sessions.get(CALLER, awaiting.id)).status is SessionStatus.AWAITING_CONFIRMATION


async def test_another_tenant_cannot_confirm_a_link(replica: Replica, awaiting: Session) -> None:
    with pytest.raises(NotFound):
        await replica.login.confirmation.confirm(STRANGER, awaiting.id, code_of(replica, awaiting))
    with pytest.raises(NotFound):
        await replica.login.confirmation.confirm(CALLER, "ses_unknown", SecretStr("x"))


async def test_a_link_that_awaits_its_confirmation_cannot_be_renewed_instead(
    replica: Replica, bank: SandboxClient, rows: Rows, awaiting: Session
) -> None:
    with pytest.raises(ConnectionNotReady):
        await replica.start_login(connection_id=awaiting.connection_id)
    early = await replica.start_login()
    await rows.change_session(early.id, renews_connection_id=awaiting.connection_id)
    ended = await replica.call_back(await consent(bank, replica.authorization_url(early)))
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "connection_not_ready")
    assert awaiting.connection_id is not None
    stored = await rows.stored(awaiting.connection_id)
    assert stored.connection.status is ConnectionStatus.PENDING_CONFIRMATION


async def test_a_session_without_confirmation_has_no_code(replica: Replica, bank: SandboxClient) -> None:
    session = await replica.log_in(bank)
    assert replica.login.confirmation.code_of(session) is None
    with pytest.raises(Conflict):
        await replica.login.confirmation.confirm(CALLER, session.id, SecretStr("x"))


async def test_a_late_confirmation_is_rejected(replica: Replica, rows: Rows, awaiting: Session) -> None:
    await rows.change_session(awaiting.id, expires_at=seconds_from_now(-1))
    with pytest.raises(Conflict):
        await replica.login.confirmation.confirm(CALLER, awaiting.id, code_of(replica, awaiting))


async def test_a_user_who_logs_in_just_in_time_still_has_time_to_confirm(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    session = await replica.start_login(require_confirmation=True)
    location = await consent(bank, replica.authorization_url(session))
    await rows.change_session(session.id, created_at=seconds_from_now(-880), expires_at=seconds_from_now(20))
    assert (await replica.call_back(location)).seconds_left > 250


async def test_an_unconfirmed_link_is_revoked_and_erased_when_it_expires(
    replica: Replica, rows: Rows, bank: SandboxClient, awaiting: Session
) -> None:
    await rows.change_session(awaiting.id, expires_at=seconds_from_now(-1))
    await replica.maintenance.housekeeping.resume_overdue_logins()
    ended = await replica.login.sessions.get(CALLER, awaiting.id)
    assert (ended.status, ended.error_code) == (SessionStatus.EXPIRED, "unconfirmed")
    assert ended.token_response is None
    assert awaiting.connection_id is not None
    stored = await rows.stored(awaiting.connection_id)
    assert (stored.connection.status, stored.tokens) == (ConnectionStatus.REVOKED, None)
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0
    with pytest.raises(Conflict):
        await replica.login.confirmation.confirm(CALLER, awaiting.id, SecretStr("x"))


async def test_a_link_is_not_both_confirmed_and_expired(replica: Replica, rows: Rows, awaiting: Session) -> None:
    await asyncio.gather(
        replica.login.confirmation.confirm(CALLER, awaiting.id, code_of(replica, awaiting)),
        replica.login.confirmation.expire(awaiting),
        return_exceptions=True,
    )
    ended = await replica.login.sessions.get(CALLER, awaiting.id)
    assert awaiting.connection_id is not None
    connection = (await rows.stored(awaiting.connection_id)).connection
    assert (ended.status, connection.status) in (
        (SessionStatus.COMPLETED, ConnectionStatus.ACTIVE),
        (SessionStatus.EXPIRED, ConnectionStatus.REVOKED),
    )
    await replica.login.confirmation.expire(awaiting)
    assert (await replica.login.sessions.get(CALLER, awaiting.id)).status is ended.status


async def test_an_unconfirmed_link_that_was_disconnected_stays_disconnected(
    replica: Replica, bank: SandboxClient, awaiting: Session
) -> None:
    assert awaiting.connection_id is not None
    await replica.connections.disconnect.disconnect(CALLER, awaiting.connection_id)
    with pytest.raises(ConnectionRevoked):
        await replica.login.confirmation.confirm(CALLER, awaiting.id, code_of(replica, awaiting))
    assert await living_families_at(bank) == 0


async def test_a_renewal_takes_effect_when_it_is_confirmed(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    connection = await rows.link(bank)
    before = await rows.stored(connection.id)
    session = await replica.log_in(bank, connection_id=connection.id, require_confirmation=True)
    assert (await rows.stored(connection.id)).tokens == before.tokens
    assert (await replica.refresh.tokens.get(TENANT, connection.id)).version == 1
    confirmed = await replica.login.confirmation.confirm(CALLER, session.id, code_of(replica, session))
    assert (confirmed.status, confirmed.connection_id) == (SessionStatus.COMPLETED, connection.id)
    after = await rows.stored(connection.id)
    assert after.connection.version == 2
    assert after.tokens != before.tokens
    assert await rows.count(connections) == 1


async def test_a_renewal_that_is_not_confirmed_leaves_the_old_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    session = await replica.log_in(bank, connection_id=connection.id, require_confirmation=True)
    await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    await replica.maintenance.housekeeping.resume_overdue_logins()
    assert (await replica.refresh.tokens.get(TENANT, connection.id)).version == 1
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 1
    assert (await rows.stored(connection.id)).connection.status is ConnectionStatus.ACTIVE


async def test_waiting_for_the_confirmation_does_not_extend_the_lifetime_of_the_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    session = await replica.log_in(bank, connection_id=connection.id, require_confirmation=True)
    async with replica.core.database.transaction() as transaction:
        issued_before = await now_at(transaction)
    await replica.login.confirmation.confirm(CALLER, session.id, code_of(replica, session))
    expires_at = (await rows.stored(connection.id)).connection.access_token_expires_at
    assert expires_at is not None
    assert (expires_at - issued_before).total_seconds() <= 900
