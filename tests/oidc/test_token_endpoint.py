import json
from collections.abc import Callable
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
    RevocationUnsupported,
)
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import ClientSecret
from app.oidc.oauth_errors import parse_retry_after
from app.oidc.provider import EndpointOverrides, Provider
from app.oidc.token_endpoint import TokenEndpoint, read_tokens
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS
from tests.support.clock import SteerableClock
from tests.support.hostile import HostileServer, Reply, json_reply

Wire = Callable[[str], TokenEndpoint]
LOST = SecretStr("a refresh token")


@pytest.fixture
def endpoint_of(client: httpx.AsyncClient, clock: SteerableClock) -> Wire:
    """Wires a token endpoint to an issuer."""

    def wire(issuer: str) -> TokenEndpoint:
        provider = Provider(
            client, clock, issuer=issuer, overrides=EndpointOverrides(), timeout=10, is_allowed=lambda _: True
        )
        authentication = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_post")
        return TokenEndpoint(BackChannel(client, provider, authentication, clock))

    return wire


@pytest.fixture
def endpoint(endpoint_of: Wire, bank_url: str) -> TokenEndpoint:
    return endpoint_of(bank_url)


@pytest.fixture
def scripted(endpoint_of: Wire, hostile: HostileServer) -> TokenEndpoint:
    """The token endpoint that the hostile server plays."""
    hostile.announce()
    return endpoint_of(hostile.url)


def body(**members: object) -> SecretStr:
    return SecretStr(json.dumps({"access_token": "at", "token_type": "Bearer", **members}))


async def test_a_code_is_exchanged(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    login = await bank.log_in("openid accounts offline_access")
    answer = await endpoint.exchange(
        code=SecretStr(login.answer["code"]),
        code_verifier=SecretStr(login.code_verifier),
        redirect_uri=REDIRECT_URIS[0],
        deadline=20,
    )
    tokens = read_tokens(answer)
    assert tokens.access_token is not None
    assert tokens.refresh_token is not None
    assert tokens.id_token is not None
    assert (tokens.lifetime, tokens.token_type) == (900, "Bearer")
    assert tokens.scopes == ["openid", "accounts", "offline_access"]
    for secret in (tokens.access_token, tokens.refresh_token, tokens.id_token):
        assert secret.get_secret_value() not in repr(tokens)


async def test_a_refresh_rotates(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    before = await bank.link()
    after = await endpoint.refresh(SecretStr(before["refresh_token"]), deadline=20)
    assert after.refresh_token is not None
    assert after.refresh_token.get_secret_value() != before["refresh_token"]
    with pytest.raises(InvalidGrant):
        await endpoint.refresh(SecretStr(before["refresh_token"]), deadline=20)


async def test_a_revocation_ends_the_consent(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    tokens = await bank.link()
    await endpoint.revoke(SecretStr(tokens["refresh_token"]), "refresh_token", deadline=20)
    assert [family.alive for family in (await bank.ledger()).families] == [False]
    await endpoint.revoke(SecretStr("unknown"), "access_token", deadline=20)


async def test_a_token_does_not_count_as_revoked_where_nothing_tells_how(
    scripted: TokenEndpoint, hostile: HostileServer
) -> None:
    hostile.announce(revocation_endpoint=None)
    with pytest.raises(RevocationUnsupported, match="BROKER_STITCH_REVOCATION_ENDPOINT"):
        await scripted.revoke(LOST, "refresh_token", deadline=20)


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
async def test_every_failure_is_told_apart(
    bank: SandboxClient, endpoint: TokenEndpoint, fault: dict[str, object], expected: type[BankError]
) -> None:
    tokens = await bank.link()
    await bank.set_faults(token=fault)  # type: ignore[arg-type]
    with pytest.raises(BankError) as failed:
        await endpoint.refresh(SecretStr(tokens["refresh_token"]), deadline=20)
    assert type(failed.value) is expected
    assert failed.value.retry_after == fault.get("retry_after")
    assert tokens["refresh_token"] not in failed.value.detail


async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"delay_after": 4})
    with pytest.raises(BankOutcomeUnknown):
        await endpoint.refresh(SecretStr(tokens["refresh_token"]), deadline=1)


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
async def test_odd_refusals_end_no_consent_by_mistake(
    scripted: TokenEndpoint, hostile: HostileServer, status: int, answer: object, expected: type[BankError]
) -> None:
    hostile.replies["/token"] = json_reply(answer, status)
    with pytest.raises(BankError) as failed:
        await scripted.refresh(LOST, deadline=20)
    assert type(failed.value) is expected


async def test_an_error_that_nobody_knows_is_not_shown(scripted: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({"error": f"bad token {LOST.get_secret_value()}"}, 400)
    with pytest.raises(BankRequestRejected, match=r"with an error of its own$"):
        await scripted.refresh(LOST, deadline=20)


@pytest.mark.parametrize("status", [200, 201, 203])
@pytest.mark.parametrize("mark", [b"", "\ufeff".encode()])
async def test_tokens_are_not_lost_over_how_success_is_told(
    scripted: TokenEndpoint, hostile: HostileServer, status: int, mark: bytes
) -> None:
    reply = json_reply({"access_token": "at", "refresh_token": "rt"}, status)
    head, _, body = reply.data.partition(b"\r\n\r\n")
    length = b"content-length: %d" % len(body)
    assert length in head
    head = head.replace(length, b"content-length: %d" % (len(mark) + len(body)))
    hostile.replies["/token"] = replace(reply, data=head + b"\r\n\r\n" + mark + body)
    assert (await scripted.refresh(LOST, deadline=20)).refresh_token == SecretStr("rt")


async def test_a_retry_after_that_is_a_date_is_understood(
    scripted: TokenEndpoint, hostile: HostileServer, clock: SteerableClock
) -> None:
    date = (clock.now() + timedelta(seconds=100)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    hostile.replies["/token"] = json_reply({}, 429, retry_after=date)
    with pytest.raises(BankRateLimited) as failed:
        await scripted.refresh(LOST, deadline=20)
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
def test_a_retry_after_is_a_bounded_number_of_seconds(
    clock: SteerableClock, value: str | None, expected: float | None
) -> None:
    headers = httpx.Headers([] if value is None else [(b"retry-after", value.encode())])
    assert parse_retry_after(headers, clock.now()) == expected


@given(st.text())
def test_no_retry_after_can_do_harm(value: str) -> None:
    seconds = parse_retry_after(httpx.Headers([(b"retry-after", value.encode())]), SteerableClock().now())
    assert seconds is None or 0 <= seconds <= 3_600


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (900, 900),
        ("900", 900),
        (900.7, 900),
        (None, 300),
        ("", 300),
        ("soon", 300),
        (True, 300),
        ([900], 300),
        (float("nan"), 300),
        ("nan", 300),
        (float("inf"), 86_400),
        (-1, 0),
        (10**9, 86_400),
    ],
)
def test_an_odd_lifetime_is_made_a_sensible_one(expires_in: object, lifetime: int) -> None:
    assert read_tokens(body(expires_in=expires_in)).lifetime == lifetime


def test_a_lifetime_beyond_all_measure_loses_no_token() -> None:
    assert 0 < read_tokens(body(expires_in=10**400)).lifetime <= 86_400


def test_a_missing_lifetime_is_a_short_one() -> None:
    assert read_tokens(body()).lifetime == 300


@pytest.mark.parametrize(("token_type", "read"), [("Bearer", "Bearer"), (1, ""), (None, "")])
def test_an_odd_token_type_loses_no_token(token_type: object, read: str) -> None:
    tokens = read_tokens(body(token_type=token_type))
    assert tokens.token_type == read
    assert tokens.access_token is not None


@pytest.mark.parametrize(("scope", "scopes"), [("a  b", ["a", "b"]), ("", []), (None, None), (["a"], None)])
def test_scopes_are_split_where_they_are_a_text(scope: object, scopes: list[str] | None) -> None:
    assert read_tokens(body(scope=scope)).scopes == scopes


def test_a_rotated_refresh_token_alone_is_kept() -> None:
    tokens = read_tokens(SecretStr('{"refresh_token": "rt"}'))
    assert tokens.access_token is None
    assert tokens.refresh_token is not None


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "1", "null", "{}", '{"access_token": ""}', '{"access_token": 1, "refresh_token": []}', "{" * 9],
)
def test_an_answer_without_tokens_is_a_bad_one(text: str) -> None:
    with pytest.raises(BankResponseInvalid):
        read_tokens(SecretStr(text))


def test_an_answer_that_nests_without_end_is_a_bad_one() -> None:
    with pytest.raises(BankResponseInvalid):
        read_tokens(SecretStr("[" * 100_000))


@pytest.mark.parametrize("text", ['"scope": "a\\u0000b"', '"scope": "\\ud800"'])
def test_scopes_that_cannot_be_stored_are_not_passed_on(text: str) -> None:
    tokens = read_tokens(SecretStr(f'{{"access_token": "at", {text}}}'))
    for scope in tokens.scopes or []:
        assert "\x00" not in scope
        scope.encode()


def test_a_token_that_cannot_be_stored_is_a_bad_answer() -> None:
    with pytest.raises(BankResponseInvalid):
        read_tokens(SecretStr('{"access_token": "\\ud800"}'))


async def test_bytes_that_are_no_text_are_a_bad_answer(scripted: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe")
    with pytest.raises(BankResponseInvalid):
        await scripted.refresh(LOST, deadline=20)
