import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from app.errors import InvalidRequest
from app.oidc.authorization_response import parse_authorization_response
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import connections, revocations
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.login.steps import codes_exchanged
from tests.support.bank import living_families_at, refreshes_at
from tests.support.replica import Replica, consent
from tests.support.rows import TENANT, Rows


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
