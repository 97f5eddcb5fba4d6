import asyncio
from collections import Counter
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest

from app.base.hashing import sha256_hex
from app.errors import (
    BankError,
    Conflict,
    ConnectionNotFound,
    ConnectionRevoked,
    DatabaseUnavailable,
    InvalidRequest,
    NotFound,
    UnprocessableRequest,
)
from app.login.connect_links import OpenedLink
from app.login.sessions import LoginRequest
from app.oidc.pkce import code_challenge
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.session_secrets import session_associated_data
from app.store.tables import sessions
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.eventually import eventually
from tests.support.hostile import HostileServer
from tests.support.replica import BASE_URL, CALLER, STRANGER, Replica, consent
from tests.support.rows import Rows


async def test_a_new_session_is_pending_and_links_to_the_bank(replica: Replica, bank_url: str) -> None:
    request = LoginRequest("user-1", return_url="https://shop.example/done", metadata={"order": 1})
    session = await replica.login.sessions.start(CALLER, request, None)
    assert session.status is SessionStatus.PENDING
    assert (session.user_id, session.return_url, session.metadata) == ("user-1", request.return_url, {"order": 1})
    assert session.scopes == ["openid", "accounts", "offline_access"]
    assert 890 < session.seconds_left <= 900
    links = replica.login.sessions.links(session)
    assert links.authorization_url is not None
    assert links.connect_url is not None
    assert links.authorization_url.startswith(f"{bank_url}/connect/authorize?client_id=")
    assert links.connect_url.startswith(f"{BASE_URL}/connect/")
    assert "state" not in repr(links)


async def test_the_secrets_of_a_login_are_stored_hashed_or_encrypted(replica: Replica, rows: Rows) -> None:
    session = await replica.start_login()
    query = parse_qs(urlsplit(replica.authorization_url(session)).query)
    (state,), (nonce,) = query["state"], query["nonce"]
    assert session.stitch_state == sha256_hex(state)
    assert session.nonce_digest == sha256_hex(nonce)
    assert session.code_verifier is not None
    verifier = replica.core.key_ring.decrypt(
        session.code_verifier, session_associated_data("code_verifier", session.id)
    )
    assert query["code_challenge"] == [session.code_challenge]
    assert code_challenge(verifier.get_secret_value()) == session.code_challenge
    connect_url = replica.login.sessions.links(session).connect_url
    assert connect_url is not None
    ticket = connect_url.rpartition("/")[2]
    for column in sessions.c:
        (value,) = await rows.column(sessions, column.name)
        text = getattr(value, "text", str(value))
        for secret in (state, nonce, verifier.get_secret_value(), ticket):
            assert secret not in text


@pytest.mark.parametrize(
    ("scopes", "requested"),
    [
        (["accounts"], ["openid", "accounts"]),
        (["accounts", "openid", "accounts"], ["accounts", "openid"]),
        ([], ["openid"]),
    ],
)
async def test_openid_is_always_requested_and_no_scope_twice(
    replica: Replica, scopes: list[str], requested: list[str]
) -> None:
    session = await replica.login.sessions.start(CALLER, LoginRequest("user-1", scopes=scopes), None)
    assert session.scopes == requested
    assert parse_qs(urlsplit(replica.authorization_url(session)).query)["scope"] == [" ".join(requested)]


async def test_a_return_url_that_is_not_allowed_is_rejected(replica: Replica, rows: Rows) -> None:
    with pytest.raises(UnprocessableRequest):
        await replica.login.sessions.start(CALLER, LoginRequest("user-1", return_url="https://evil.example/"), None)
    assert await rows.count(sessions) == 0


async def test_without_a_discovery_document_no_session_is_started(
    replicas: ReplicaFactory, hostile: HostileServer, rows: Rows
) -> None:
    with pytest.raises(BankError):
        await (await replicas(issuer=hostile.url)).start_login()
    assert await rows.count(sessions) == 0


async def test_requests_with_the_same_idempotency_key_get_the_same_session(replica: Replica, rows: Rows) -> None:
    request = LoginRequest("user-1", metadata={"b": 1, "a": 2})
    same = LoginRequest("user-1", metadata={"a": 2, "b": 1})
    started = await asyncio.gather(*(replica.login.sessions.start(CALLER, each, "key") for each in (request, same) * 5))
    assert len({session.id for session in started}) == 1
    assert await rows.count(sessions) == 1
    other = await replica.login.sessions.start(STRANGER, request, "key")
    assert other.id != started[0].id


async def test_an_idempotency_key_cannot_be_reused_for_another_request(replica: Replica) -> None:
    await replica.login.sessions.start(CALLER, LoginRequest("user-1"), "key")
    for other in (LoginRequest("user-2"), LoginRequest("user-1", require_confirmation=True)):
        with pytest.raises(UnprocessableRequest) as rejected:
            await replica.login.sessions.start(CALLER, other, "key")
        assert rejected.value.code == "idempotency_key_reused"


async def test_only_a_users_own_active_connection_can_be_renewed(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank)
    session = await replica.start_login(connection_id=connection.id)
    assert session.renews_connection_id == connection.id
    with pytest.raises(Conflict) as rejected:
        await replica.start_login(user_id="user-2", connection_id=connection.id)
    assert rejected.value.code == "user_mismatch"
    with pytest.raises(ConnectionNotFound):
        await replica.start_login(connection_id="con_unknown")
    with pytest.raises(ConnectionNotFound):
        await replica.login.sessions.start(STRANGER, LoginRequest("user-1", connection_id=connection.id), None)
    await rows.change_connection(connection.id, status=ConnectionStatus.REVOKED)
    with pytest.raises(ConnectionRevoked):
        await replica.start_login(connection_id=connection.id)


async def test_a_session_is_visible_to_its_tenant_only(replica: Replica) -> None:
    session = await replica.start_login()
    assert (await replica.login.sessions.get(CALLER, session.id)).id == session.id
    with pytest.raises(NotFound):
        await replica.login.sessions.get(STRANGER, session.id)
    with pytest.raises(NotFound):
        await replica.login.sessions.cancel(STRANGER, session.id)
    elsewhere = await replica.login.sessions.page(STRANGER, user_id=None, status=None, limit=9, cursor=None)
    assert elsewhere.items == []
    page = await replica.login.sessions.page(
        CALLER, user_id="user-1", status=SessionStatus.PENDING, limit=9, cursor=None
    )
    assert [listed.id for listed in page.items] == [session.id]


async def test_waiting_ends_when_another_replica_ends_the_session(replicas: ReplicaFactory) -> None:
    first, second = await replicas(), await replicas()
    session = await first.start_login()
    waiting = asyncio.create_task(first.ended(session, wait=60))
    await asyncio.sleep(0)
    await second.login.sessions.cancel(CALLER, session.id)
    assert (await waiting).status is SessionStatus.CANCELLED


async def test_waiting_ends_after_its_time_or_at_shutdown(replica: Replica) -> None:
    session = await replica.start_login()
    assert (await replica.ended(session, wait=0.05)).status is SessionStatus.PENDING
    replica.core.shutdown.set()
    assert (await replica.ended(session, wait=1_000)).status is SessionStatus.PENDING


async def test_waiting_ends_when_the_session_expires(replica: Replica, rows: Rows) -> None:
    session = await replica.start_login()
    await rows.change_session(session.id, expires_at=seconds_from_now(0.3))
    ended = await replica.ended(session)
    assert ended.status is SessionStatus.EXPIRED
    assert replica.login.sessions.links(ended).authorization_url is None


async def test_a_pending_login_can_be_cancelled_repeatedly(replica: Replica, bank: SandboxClient, rows: Rows) -> None:
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    for _ in range(2):
        await replica.login.sessions.cancel(CALLER, session.id)
    cancelled = await replica.login.sessions.get(CALLER, session.id)
    assert cancelled.status is SessionStatus.CANCELLED
    assert (cancelled.code_verifier, cancelled.ticket, cancelled.authorization_url) == (None, None, None)
    assert replica.login.sessions.links(cancelled).connect_url is None
    assert (await replica.call_back(location)).status is SessionStatus.CANCELLED
    assert (await bank.ledger()).totals.codes_exchanged == 0


async def test_a_completed_login_cannot_be_cancelled(replica: Replica, bank: SandboxClient) -> None:
    session = await replica.log_in(bank)
    with pytest.raises(Conflict) as rejected:
        await replica.login.sessions.cancel(CALLER, session.id)
    assert rejected.value.code == "session_not_pending"


def ticket_of(replica: Replica, session: object) -> str:
    url = replica.login.sessions.links(session).connect_url  # type: ignore[arg-type]
    assert url is not None
    return url.rpartition("/")[2]


async def open_link(replica: Replica, ticket: str, browser: str | None = None) -> OpenedLink:
    """Open a link in a browser with this secret."""
    opened = await replica.login.connect_links.open(ticket, lambda _login: browser)
    assert isinstance(opened, OpenedLink)
    return opened


async def test_a_link_binds_the_first_browser_and_sends_it_to_the_bank(replica: Replica) -> None:
    session = await replica.start_login()
    ticket = ticket_of(replica, session)
    opened = await open_link(replica, ticket)
    browser = opened.browser
    assert opened.bank_url.get_secret_value() == replica.authorization_url(session)
    assert await open_link(replica, ticket, browser) == opened
    bound = await replica.login.sessions.get(CALLER, session.id)
    assert bound.browser_digest == sha256_hex(browser)
    for other in (None, "", "another"):
        with pytest.raises(InvalidRequest) as rejected:
            await open_link(replica, ticket, other)
        assert rejected.value.code == "other_browser"


async def test_a_browser_cannot_choose_its_own_secret(replica: Replica) -> None:
    session = await replica.start_login()
    opened = await open_link(replica, ticket_of(replica, session), "planted by an attacker")
    assert opened.browser != "planted by an attacker"


async def is_connected(replica: Replica) -> bool:
    with suppress(DatabaseUnavailable):
        await replica.core.database.ping()
        return True
    return False


async def test_only_one_of_the_browsers_that_open_a_link_at_once_gets_it(replica: Replica) -> None:
    session = await replica.start_login()
    # So that the burst needs no new database connections, whose opening may time out on a busy machine.
    await asyncio.gather(*(eventually(lambda: is_connected(replica)) for _ in range(5)))
    calls = [open_link(replica, ticket_of(replica, session)) for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert Counter(type(result) for result in results) == {OpenedLink: 1, InvalidRequest: 4}, results


async def test_an_unknown_used_or_expired_link_is_rejected(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    with pytest.raises(NotFound):
        await open_link(replica, "unknown")
    session, expired = await replica.start_login(), await replica.start_login()
    used_ticket, expired_ticket = ticket_of(replica, session), ticket_of(replica, expired)
    await replica.call_back(await consent(bank, replica.authorization_url(session)))
    await rows.change_session(expired.id, expires_at=seconds_from_now(-1))
    for ticket in (used_ticket, expired_ticket):
        with pytest.raises(InvalidRequest) as rejected:
            await open_link(replica, ticket)
        assert rejected.value.code == "ticket_used"


async def test_a_login_can_be_completed_only_in_the_browser_that_opened_its_link(
    replica: Replica, bank: SandboxClient
) -> None:
    session = await replica.start_login()
    browser = (await open_link(replica, ticket_of(replica, session))).browser
    location = await consent(bank, replica.authorization_url(session))
    for other in (None, "another"):
        with pytest.raises(InvalidRequest) as rejected:
            await replica.call_back(location, browser=other)
        assert rejected.value.code == "other_browser"
    assert (await replica.call_back(location, browser=browser)).status is SessionStatus.COMPLETED

    async def is_ended() -> bool:
        return (await replica.login.sessions.get(CALLER, session.id)).ended_at is not None

    await eventually(is_ended)
