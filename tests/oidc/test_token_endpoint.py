from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.errors import (
    BankError,
    BankOutcomeUnknown,
    BankRateLimited,
    BankRequestRejected,
    BankResponseInvalid,
    BankServerError,
    InvalidClient,
    InvalidGrant,
)
from app.oidc.back_channel import BackChannel
from app.oidc.oauth_errors import parse_retry_after
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.token_response import parse_token_response
from sandbox.client import SandboxClient
from sandbox.settings import REDIRECT_URIS
from tests.oidc.providers import back_channel_for, checked_response
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, Reply, json_reply

REFRESH_TOKEN = SecretStr("a refresh token")


@pytest.fixture
def back_channel(client: httpx.AsyncClient, clock: AdjustableClock, bank_url: str) -> BackChannel:
    return back_channel_for(client, clock, bank_url)


@pytest.fixture
def endpoint(back_channel: BackChannel) -> TokenEndpoint:
    return TokenEndpoint(back_channel)


@pytest.fixture
def scripted(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer) -> TokenEndpoint:
    """The token endpoint of the hostile server."""
    hostile.announce()
    return TokenEndpoint(back_channel_for(client, clock, hostile.url))


async def test_a_code_is_exchanged(bank: SandboxClient, back_channel: BackChannel) -> None:
    login = await bank.log_in("openid accounts offline_access")
    body = await TokenEndpoint(back_channel).exchange(
        await checked_response(login, back_channel),
        code_verifier=SecretStr(login.code_verifier),
        redirect_uri=REDIRECT_URIS[0],
        timeout_seconds=20,
    )
    tokens = parse_token_response(body)
    assert tokens.access_token is not None
    assert tokens.refresh_token is not None
    assert tokens.id_token is not None
    assert (tokens.lifetime, tokens.token_type) == (900, "Bearer")
    assert tokens.scopes == ["openid", "accounts", "offline_access"]
    for secret in (tokens.access_token, tokens.refresh_token, tokens.id_token):
        assert secret.get_secret_value() not in repr(tokens)


async def test_a_refresh_rotates_the_refresh_token(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    before = await bank.link()
    after = await endpoint.refresh(SecretStr(before["refresh_token"]), timeout_seconds=20)
    assert after.refresh_token is not None
    assert after.refresh_token.get_secret_value() != before["refresh_token"]
    with pytest.raises(InvalidGrant):
        await endpoint.refresh(SecretStr(before["refresh_token"]), timeout_seconds=20)


async def test_a_revocation_ends_the_consent(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    tokens = await bank.link()
    await endpoint.revoke(SecretStr(tokens["refresh_token"]), "refresh_token", timeout_seconds=20)
    assert [family.alive for family in (await bank.ledger()).families] == [False]
    await endpoint.revoke(SecretStr("unknown"), "access_token", timeout_seconds=20)


async def test_a_token_does_not_count_as_revoked_if_the_endpoint_is_not_known(
    scripted: TokenEndpoint, hostile: HostileServer
) -> None:
    hostile.announce(revocation_endpoint=None)
    with pytest.raises(BankError, match="BROKER_STITCH_REVOCATION_ENDPOINT"):
        await scripted.revoke(REFRESH_TOKEN, "refresh_token", timeout_seconds=20)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"error": "invalid_grant"}, InvalidGrant),
        ({"error": "invalid_client"}, InvalidClient),
        ({"error": "unauthorized_client"}, InvalidClient),
        ({"status": 401}, InvalidClient),
        ({"error": "invalid_scope"}, BankRequestRejected),
        ({"error": "invalid_request"}, BankRequestRejected),
        ({"status": 429}, BankRateLimited),
        ({"status": 500}, BankServerError),
        ({"status": 503, "retry_after": 7}, BankServerError),
        ({"status": 403}, BankResponseInvalid),
        ({"status": 404}, BankResponseInvalid),
        ({"garbage": True}, BankResponseInvalid),
        ({"huge": 2_000_000}, BankResponseInvalid),
        ({"redirect": "https://evil.example/"}, BankResponseInvalid),
        ({"half_answer": True}, BankResponseInvalid),
        ({"lose_answer": True}, BankOutcomeUnknown),
        ({"hang": 0.05}, BankOutcomeUnknown),
    ],
)
async def test_each_failure_has_its_own_error(
    bank: SandboxClient, endpoint: TokenEndpoint, fault: dict[str, object], expected: type[BankError]
) -> None:
    tokens = await bank.link()
    await bank.set_faults(token=fault)  # type: ignore[arg-type]
    with pytest.raises(BankError) as failed:
        await endpoint.refresh(SecretStr(tokens["refresh_token"]), timeout_seconds=20)
    assert type(failed.value) is expected
    assert failed.value.retry_after == fault.get("retry_after")
    assert tokens["refresh_token"] not in failed.value.detail


async def test_a_late_response_leaves_the_outcome_unknown(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"delay_after": 4})
    with pytest.raises(BankOutcomeUnknown):
        await endpoint.refresh(SecretStr(tokens["refresh_token"]), timeout_seconds=1)


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (401, {"error": "invalid_client"}, InvalidClient),
        (401, {"error": "invalid_grant"}, InvalidGrant),
        (400, {"error": 1}, BankResponseInvalid),
        (400, {"error": "not\u00e9ascii"}, BankRequestRejected),
        (400, {"error": "a\nb"}, BankRequestRejected),
        (400, ["invalid_grant"], BankResponseInvalid),
        (400, {}, BankResponseInvalid),
        (503, {"error": "invalid_grant"}, BankServerError),
        (429, {"error": "invalid_grant"}, BankRateLimited),
        (302, {"access_token": "at"}, BankResponseInvalid),
    ],
)
async def test_unusual_error_responses_do_not_end_a_consent_by_mistake(
    scripted: TokenEndpoint, hostile: HostileServer, status: int, answer: object, expected: type[BankError]
) -> None:
    hostile.replies["/token"] = json_reply(answer, status)
    with pytest.raises(BankError) as failed:
        await scripted.refresh(REFRESH_TOKEN, timeout_seconds=20)
    assert type(failed.value) is expected


async def test_an_unknown_error_code_is_not_shown(scripted: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({"error": f"bad token {REFRESH_TOKEN.get_secret_value()}"}, 400)
    with pytest.raises(BankRequestRejected, match=r"with an error of its own$"):
        await scripted.refresh(REFRESH_TOKEN, timeout_seconds=20)


@pytest.mark.parametrize("status", [200, 201, 203])
@pytest.mark.parametrize("mark", [b"", "\ufeff".encode()])
async def test_no_token_is_lost_to_an_unusual_status_or_a_byte_order_mark(
    scripted: TokenEndpoint, hostile: HostileServer, status: int, mark: bytes
) -> None:
    reply = json_reply({"access_token": "at", "refresh_token": "rt"}, status)
    head, _, body = reply.data.partition(b"\r\n\r\n")
    length = b"content-length: %d" % len(body)
    assert length in head
    head = head.replace(length, b"content-length: %d" % (len(mark) + len(body)))
    hostile.replies["/token"] = replace(reply, data=head + b"\r\n\r\n" + mark + body)
    assert (await scripted.refresh(REFRESH_TOKEN, timeout_seconds=20)).refresh_token == SecretStr("rt")


async def test_retry_after_may_be_a_date(
    scripted: TokenEndpoint, hostile: HostileServer, clock: AdjustableClock
) -> None:
    date = (clock.now() + timedelta(seconds=100)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    hostile.replies["/token"] = json_reply({}, 429, retry_after=date)
    with pytest.raises(BankRateLimited) as failed:
        await scripted.refresh(REFRESH_TOKEN, timeout_seconds=20)
    assert failed.value.retry_after is not None
    assert 0 < failed.value.retry_after <= 100


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("1000000", 3_600),
        ("9" * 5_000, 3_600),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
        ("Thu, 01 Jan 1970 00:00:00", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_limited_to_an_hour(clock: AdjustableClock, value: str | None, expected: float | None) -> None:
    headers = httpx.Headers([] if value is None else [(b"retry-after", value.encode())])
    assert parse_retry_after(headers, clock.now()) == expected


@given(st.text())
def test_any_retry_after_is_ignored_or_limited(value: str) -> None:
    seconds = parse_retry_after(httpx.Headers([(b"retry-after", value.encode())]), AdjustableClock().now())
    assert seconds is None or 0 <= seconds <= 3_600


async def test_a_body_that_is_not_text_is_an_invalid_response(scripted: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe")
    with pytest.raises(BankResponseInvalid):
        await scripted.refresh(REFRESH_TOKEN, timeout_seconds=20)
