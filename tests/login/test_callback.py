import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from app.errors import InvalidRequest
from app.login.session_lease import LeaseTimes
from app.oidc.authorization_response import parse_authorization_response
from app.oidc.provider_metadata import ProviderMetadata
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session
from app.store.tables import connections, revocations, sessions
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import living_families_at, refreshes_at
from tests.support.eventually import eventually
from tests.support.gates import stop_after, stop_before
from tests.support.logs import capture_log_events
from tests.support.relay import Relay
from tests.support.replica import CALLER, IMPATIENT_BROWSER, Replica, consent
from tests.support.rows import TENANT, Rows


async def codes_exchanged(bank: SandboxClient) -> int:
    return (await bank.ledger()).totals.codes_exchanged


async def exchanging(replica: Replica, bank: SandboxClient) -> Session:
    """Start a login, and return its session while the code is being exchanged."""
    session = await replica.log_in(bank)
    assert session.status is SessionStatus.EXCHANGING
    return session


def changed(location: str, **changes: str | None) -> str:
    """Set parameters of a redirect, or remove them."""
    parts = urlsplit(location)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return parts._replace(query=urlencode({name: value for name, value in query.items() if value is not None})).geturl()


async def test_a_login_ends_with_a_usable_connection(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    session = await replica.log_in(bank)
    assert (session.status, session.error_code) == (SessionStatus.COMPLETED, None)
    assert session.connection_id is not None
    assert session.ended_at is not None
    assert (session.token_response, session.code_verifier, session.authorization_url) == (None, None, None)
    connection = (await rows.stored(session.connection_id)).connection
    assert connection.status is ConnectionStatus.ACTIVE
    assert (connection.user_id, connection.version, connection.refreshable) == ("user-1", 1, True)
    assert connection.subject == await bank.sub_of("thandi")
    assert connection.scopes == ["openid", "accounts", "offline_access"]
    token = await replica.refresh.tokens.get(TENANT, connection.id)
    assert (await bank.query(token.access_token.get_secret_value(), "{ user { id } }")).status_code == 200
    assert await refreshes_at(bank) == 0


async def test_a_user_may_grant_fewer_scopes(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session), scopes=["accounts"])
    ended = await replica.call_back(location)
    assert ended.connection_id is not None
    connection = (await rows.stored(ended.connection_id)).connection
    assert (connection.scopes, connection.refreshable) == (["openid", "accounts"], False)


async def test_a_login_that_the_user_cancels_at_the_bank_is_cancelled(replica: Replica, bank: SandboxClient) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session), decision="cancel")
    assert [name for name, _ in parse_qsl(urlsplit(location).query)] == ["state"]
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code, ended.error_detail) == (SessionStatus.CANCELLED, None, None)


@pytest.mark.parametrize(
    ("parameters", "status", "error", "detail"),
    [
        ({"error": "access_denied", "error_description": "no"}, SessionStatus.CANCELLED, None, None),
        ({"error": "server_error"}, SessionStatus.FAILED, "server_error", None),
        (
            {"error": "temporarily_unavailable", "error_description": 'a "quoted" \\ é word' + "x" * 500},
            SessionStatus.FAILED,
            "temporarily_unavailable",
            "the bank said: a quoted   word" + "x" * 181,
        ),
    ],
)
async def test_an_error_of_the_bank_ends_the_login_with_its_code(
    *,
    replica: Replica,
    bank: SandboxClient,
    parameters: dict[str, str],
    status: SessionStatus,
    error: str | None,
    detail: str | None,
) -> None:
    await bank.set_faults(authorization_response={"parameters": {"code": None, **parameters}})
    session = await replica.log_in(bank)
    assert (session.status, session.error_code) == (status, error)
    assert session.error_detail == detail
    assert await codes_exchanged(bank) == 0


async def test_an_issuer_that_the_bank_announces_must_match(replica: Replica, bank: SandboxClient) -> None:
    await bank.set_faults(announce_iss=True)
    assert (await replica.log_in(bank)).status is SessionStatus.COMPLETED
    session = await replica.start_login()
    location = changed(await consent(bank, replica.authorization_url(session)), iss=None)
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "issuer_mismatch")
    assert await codes_exchanged(bank) == 1


@pytest.mark.parametrize("parameters", [{}, {"error": "access_denied"}, {"error": "server_error"}])
async def test_an_announced_issuer_is_required_in_a_response_without_a_code_too(
    replica: Replica, bank: SandboxClient, parameters: dict[str, str]
) -> None:
    await bank.set_faults(announce_iss=True)
    session = await replica.start_login()
    state = dict(parse_qsl(urlsplit(replica.authorization_url(session)).query))["state"]
    ended = await replica.call_back(f"/callback?{urlencode({'state': state, **parameters})}")
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "issuer_mismatch")


async def test_an_issuer_in_the_response_must_match_even_if_it_was_not_announced(
    replica: Replica, bank: SandboxClient
) -> None:
    session = await replica.start_login()
    location = changed(await consent(bank, replica.authorization_url(session)), iss="https://evil.example")
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "issuer_mismatch")
    assert await codes_exchanged(bank) == 0


async def test_concurrent_callbacks_with_one_state_exchange_its_code_once(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows
) -> None:
    both = [await replicas(), await replicas()]
    session = await both[0].start_login()
    location = await consent(bank, both[0].authorization_url(session))
    results = await asyncio.gather(*(replica.call_back(location, None, "same") for replica in both for _ in range(25)))
    assert {result.id for result in results} == {session.id}
    assert sum(result.status is SessionStatus.COMPLETED for result in results) >= 1
    assert await codes_exchanged(bank) == 1
    assert await rows.count(connections) == 1
    assert (await both[1].call_back(location)).status is SessionStatus.COMPLETED
    assert (await bank.ledger()).totals.token_requests == {"authorization_code": {"ok": 1}}


async def test_only_the_browser_of_the_first_callback_owns_the_login(replica: Replica, bank: SandboxClient) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    response = parse_authorization_response(parse_qsl(urlsplit(location).query))
    assert (await replica.login.callback.receive(response, None, "first"))[1]
    assert (await replica.login.callback.receive(response, "first", "second"))[1]
    assert not (await replica.login.callback.receive(response, None, "second"))[1]
    assert not (await replica.login.callback.receive(response, "second", "third"))[1]


async def test_an_unknown_or_expired_state_is_rejected(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    with pytest.raises(InvalidRequest) as unknown:
        await replica.call_back(changed(location, state="x" * 43))
    assert unknown.value.code == "state_unknown"
    await rows.change_session(session.id, expires_at=seconds_from_now(-1))
    with pytest.raises(InvalidRequest) as expired:
        await replica.call_back(location)
    assert expired.value.code == "state_expired"
    assert await codes_exchanged(bank) == 0


async def test_a_code_of_another_login_is_rejected_by_the_bank(replica: Replica, bank: SandboxClient) -> None:
    """The code verifier does not match an injected code (RFC 7636)."""
    own, other = await replica.start_login(), await replica.start_login()
    stolen = dict(parse_qsl(urlsplit(await consent(bank, replica.authorization_url(other))).query))["code"]
    location = changed(await consent(bank, replica.authorization_url(own)), code=stolen)
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "invalid_grant")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"error": "invalid_client"}, "bank_refused_client"),
        ({"status": 500}, "bank_failed"),
        ({"garbage": True}, "bank_bad_answer"),
        ({"lose_answer": True}, "bank_outcome_unknown"),
        ({"half_answer": True}, "bank_bad_answer"),
    ],
)
async def test_an_exchange_that_failed_is_not_repeated(
    replica: Replica, bank: SandboxClient, fault: dict[str, Any], code: str
) -> None:
    await bank.set_faults(token=fault)
    session = await replica.log_in(bank)
    assert (session.status, session.error_code) == (SessionStatus.FAILED, code)
    assert await codes_exchanged(bank) <= 1
    assert (session.code_verifier, session.token_response) == (None, None)


async def test_an_exchange_that_the_bank_postponed_is_repeated(replica: Replica, bank: SandboxClient) -> None:
    await bank.set_faults(token={"status": 429, "retry_after": 0, "times": 1})
    assert (await replica.log_in(bank)).status is SessionStatus.COMPLETED
    assert await codes_exchanged(bank) == 1


async def test_the_lease_of_a_login_is_renewed_while_it_waits_for_the_bank(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(options=replace(IMPATIENT_BROWSER, lease_times=LeaseTimes(lease=0.3)))
    exchange = stop_before(monkeypatch, replica.bank.token_endpoint, "exchange")
    session = await exchanging(replica, bank)
    [first] = await rows.column(sessions, "lease_until")

    async def is_renewed() -> bool:
        return await rows.column(sessions, "lease_until") > [first]

    await eventually(is_renewed)
    exchange.open()
    assert (await replica.ended(session)).status is SessionStatus.COMPLETED


async def test_a_login_that_waits_for_the_bank_is_not_resumed_by_another_replica(
    replicas: ReplicaFactory, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_before(monkeypatch, waiting.bank.token_endpoint, "exchange")
    session = await exchanging(waiting, bank)
    await other.maintenance.housekeeping.resume_overdue_logins()
    assert await other.core.tasks.drain(20) == []
    exchange.open()
    ended = await waiting.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.COMPLETED, None)
    assert await codes_exchanged(bank) == 1


INVALID_RESPONSES: list[tuple[dict[str, Any], str]] = [
    ({"claims": {"nonce": "another"}}, "id_token_nonce"),
    ({"claims": {"aud": "another"}}, "id_token_audience"),
    ({"claims": {"iss": "https://evil.example"}}, "id_token_issuer"),
    ({"claims": {"exp": 1}}, "id_token_expired"),
    ({"claims": {"sub": None}}, "id_token_subject"),
    ({"claims": {"at_hash": "another"}}, "id_token_at_hash"),
    ({"claims": {"s_hash": "another"}}, "id_token_s_hash"),
    ({"algorithm": "none"}, "id_token_algorithm"),
    ({"algorithm": "HS256"}, "id_token_algorithm"),
    ({"signing_key": "other"}, "id_token_signature"),
    ({"kid": "unknown"}, "id_token_key"),
    ({"token_response": {"id_token": None}}, "id_token_missing"),
    ({"token_response": {"id_token": "no JWT"}}, "id_token_malformed"),
    ({"token_response": {"token_type": "DPoP"}}, "token_type_unsupported"),
    ({"token_response": {"token_type": "N_A"}}, "token_type_unsupported"),
    ({"token_response": {"access_token": None}}, "access_token_missing"),
]


@pytest.mark.parametrize(("fault", "code"), INVALID_RESPONSES)
async def test_the_tokens_of_an_invalid_response_are_revoked_at_the_bank(
    *,
    replica: Replica,
    rows: Rows,
    bank: SandboxClient,
    fault: dict[str, Any],
    code: str,
) -> None:
    await bank.set_faults(token=fault)
    session = await replica.log_in(bank)
    assert (session.status, session.error_code) == (SessionStatus.FAILED, code)
    assert session.connection_id is None
    assert session.token_response is None
    assert await rows.count(connections) == 0
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0
    assert await rows.count(revocations) == 0


async def test_a_response_without_tokens_needs_no_revocation(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    await bank.set_faults(token={"token_response": {"access_token": None, "refresh_token": None}})
    session = await replica.log_in(bank)
    assert (session.status, session.error_code) == (SessionStatus.FAILED, "bank_bad_answer")
    assert await rows.count(revocations) == 0


async def test_a_login_waits_for_an_outage_of_the_signing_keys_to_end(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(replica, bank)
    assert session.token_response is not None or await codes_exchanged(bank) <= 1
    await bank.set_faults(jwks=None)
    assert (await replica.ended(session)).status is SessionStatus.COMPLETED
    assert await codes_exchanged(bank) == 1


async def test_all_steps_of_a_login_together_may_take_no_longer_than_its_session(
    replica: Replica, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discovery document takes most of the time, and the exchange has only the rest."""
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    metadata = replica.bank.provider.metadata

    async def slow_metadata() -> ProviderMetadata:
        replica.clock.advance(900)
        return await metadata()

    monkeypatch.setattr(replica.bank.provider, "metadata", slow_metadata)
    await bank.set_faults(token={"status": 429, "retry_after": 0, "times": 1})
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "bank_rate_limited")


async def test_an_outage_that_outlasts_the_session_fails_it_and_revokes_the_tokens(
    replicas: ReplicaFactory, bank: SandboxClient
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    with capture_log_events() as logs:
        session = await exchanging(replica, bank)

        async def waits_for_keys() -> bool:
            return "login_waits_for_bank" in [line["event"] for line in logs]

        await eventually(waits_for_keys)
    replica.clock.advance(1_000)
    ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "bank_bad_answer")
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_an_outage_of_the_signing_keys_that_outlasts_the_id_token_loses_nothing(
    replicas: ReplicaFactory, bank: SandboxClient
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(replica, bank)

    async def is_stored() -> bool:
        return (await replica.login.sessions.get(CALLER, session.id)).token_response is not None

    await eventually(is_stored)
    replica.clock.advance(600)
    await bank.set_faults(jwks=None)
    ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.COMPLETED, None)


async def test_losing_the_database_after_the_exchange_loses_no_login(
    replicas: ReplicaFactory, relay: Relay, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(database_url=relay.url, listens=False, options=IMPATIENT_BROWSER)
    onlooker = await replicas()
    exchange = stop_after(monkeypatch, replica.bank.token_endpoint, "exchange")
    with capture_log_events() as logs:
        session = await exchanging(replica, bank)
        await exchange.wait_until_reached()
        assert await codes_exchanged(bank) == 1
        await relay.cut()
        exchange.open()

        async def is_retrying() -> bool:
            return ("waiting_for_database", session.id) in [(line["event"], line.get("about")) for line in logs]

        await eventually(is_retrying)
    await relay.restore()
    assert (await onlooker.ended(session)).status is SessionStatus.COMPLETED


async def interrupt(replica: Replica, rows: Rows, session: Session) -> None:
    """Stop a replica in the middle of its work, and end the lease of the session."""
    assert await replica.core.tasks.drain(0) != []
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))


async def test_another_replica_completes_a_login_that_was_interrupted_after_the_exchange(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient
) -> None:
    lost, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(lost, bank)

    async def is_stored() -> bool:
        return (await other.login.sessions.get(CALLER, session.id)).token_response is not None

    await eventually(is_stored)
    await interrupt(lost, rows, session)
    await bank.set_faults(jwks=None)
    await other.maintenance.housekeeping.resume_overdue_logins()
    assert (await other.ended(session)).status is SessionStatus.COMPLETED
    assert await codes_exchanged(bank) == 1


async def test_a_login_that_was_interrupted_during_the_exchange_fails_and_sends_no_code_again(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_before(monkeypatch, lost.bank.token_endpoint, "exchange")
    session = await exchanging(lost, bank)
    await exchange.wait_until_reached()
    await interrupt(lost, rows, session)
    await other.maintenance.housekeeping.resume_overdue_logins()
    ended = await other.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "exchange_interrupted")


async def test_an_unexpected_error_ends_the_login_when_it_expires_and_revokes_its_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(replica.login.account_linker, "validate", crash)
    session = await exchanging(replica, bank)
    with capture_log_events() as logs:
        await replica.core.tasks.drain(20)
        assert (await replica.login.sessions.get(CALLER, session.id)).status is SessionStatus.EXCHANGING
        await rows.change_session(session.id, expires_at=seconds_from_now(-1), lease_until=seconds_from_now(-1))
        await replica.maintenance.housekeeping.resume_overdue_logins()
        ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "internal_error")
    assert "login_crashed" in [line["event"] for line in logs]
    await replica.core.tasks.drain(20)
    while await replica.connections.revocation_worker.revoke_due():
        pass
    assert await living_families_at(bank) == 0


async def test_tokens_that_arrive_after_another_replica_ended_the_login_are_revoked(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_after(monkeypatch, slow.bank.token_endpoint, "exchange")
    session = await exchanging(slow, bank)
    await exchange.wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await other.maintenance.housekeeping.resume_overdue_logins()
    ended = await other.ended(session)
    assert ended.error_code == "exchange_interrupted"
    exchange.open()
    assert await slow.core.tasks.drain(20) == []
    assert await rows.count(connections) == 0
    await other.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_a_late_token_response_is_not_stored_in_an_ended_session(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_after(monkeypatch, slow.bank.token_endpoint, "exchange")
    session = await exchanging(slow, bank)
    await exchange.wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await other.maintenance.housekeeping.resume_overdue_logins()
    await other.ended(session)
    exchange.open()
    assert await slow.core.tasks.drain(20) == []
    assert (await other.login.sessions.get(CALLER, session.id)).token_response is None


async def test_erasing_a_user_during_a_login_leaves_no_valid_tokens(
    replicas: ReplicaFactory, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    exchange = stop_after(monkeypatch, replica.bank.token_endpoint, "exchange")
    session = await exchanging(replica, bank)
    await exchange.wait_until_reached()
    await replica.connections.disconnect.erase_user(CALLER, session.user_id)
    exchange.open()
    assert await replica.core.tasks.drain(20) == []
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_two_replicas_that_complete_the_same_login_link_it_once(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await replicas(options=IMPATIENT_BROWSER), await replicas()
    validations = [stop_before(monkeypatch, replica.login.account_linker, "validate") for replica in (first, second)]
    session = await exchanging(first, bank)
    await validations[0].wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await second.maintenance.housekeeping.resume_overdue_logins()
    await validations[1].wait_until_reached()
    for validation in validations:
        validation.open()
    assert await first.core.tasks.drain(20) == []
    assert await second.core.tasks.drain(20) == []
    assert (await second.ended(session)).status is SessionStatus.COMPLETED
    assert await rows.count(connections) == 1
    assert await rows.count(revocations) == 0
    assert await living_families_at(bank) == 1


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
