"""Whatever a proxy or CDN does to a response, over real HTTP: no refresh token is lost to it."""

import gzip
import json

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.errors import BankOutcomeUnknown, BankResponseInvalid, InvalidGrant
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from tests.oidc.providers import DISCOVERY, back_channel_for, provider_for
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.logs import capture_log_events

BODY = json.dumps({"access_token": "at", "refresh_token": "rt", "expires_in": 900}).encode()
OLD_TOKEN = SecretStr("a refresh token")


def reply(body: bytes, *fields: str, status: int = 200, then_hang: bool = False) -> Reply:
    """Return a response with exactly these header fields."""
    head = "".join(f"{field}\r\n" for field in ("content-type: application/json", *fields))
    return Reply(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + body, then_hang=then_hang)


def sized(body: bytes, *fields: str, status: int = 200) -> Reply:
    return reply(body, f"content-length: {len(body)}", *fields, status=status)


@pytest.fixture
def endpoint(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer) -> TokenEndpoint:
    hostile.announce()
    return TokenEndpoint(back_channel_for(client, clock, hostile.url))


@pytest.fixture
def provider(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer) -> Provider:
    return provider_for(client, clock, hostile.url)


async def refreshed(endpoint: TokenEndpoint, *, seconds: float = 20) -> str | None:
    tokens = await endpoint.refresh(OLD_TOKEN, timeout_seconds=seconds)
    return tokens.refresh_token.get_secret_value() if tokens.refresh_token else None


async def test_compressed_tokens_are_read(endpoint: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = sized(gzip.compress(BODY), "content-encoding: gzip")
    assert await refreshed(endpoint) == "rt"


async def test_a_compressed_error_is_read(endpoint: TokenEndpoint, hostile: HostileServer) -> None:
    error = gzip.compress(b'{"error": "invalid_grant"}')
    hostile.replies["/token"] = sized(error, "content-encoding: gzip", status=400)
    with pytest.raises(InvalidGrant):
        await refreshed(endpoint)


async def test_a_compressed_response_that_expands_beyond_the_limit_is_refused(
    endpoint: TokenEndpoint, hostile: HostileServer
) -> None:
    hostile.replies["/token"] = sized(gzip.compress(b" " * 10_000_000 + BODY), "content-encoding: gzip")
    with pytest.raises(BankResponseInvalid, match="larger than"):
        await refreshed(endpoint)


async def test_the_metadata_and_keys_may_be_compressed(
    provider: Provider, hostile: HostileServer, client_key: RSAKey
) -> None:
    documents = {DISCOVERY: hostile.document(), "/jwks": {"keys": [client_key.as_dict(private=False)]}}
    for path, document in documents.items():
        hostile.replies[path] = sized(gzip.compress(json.dumps(document).encode()), "content-encoding: gzip")
    assert [key.kid for key in (await provider.signing_keys()).keys] == ["client-key"]


@pytest.mark.parametrize(
    "fields",
    [
        ["content-security-policy: " + "x" * 65_000],
        [f"x-field-{number}: value" for number in range(490)],
        [f"set-cookie: c{number}={'x' * 4_000}" for number in range(50)],
    ],
    ids=["64 KiB in a line", "490 fields", "large cookies"],
)
async def test_large_heads_are_read(endpoint: TokenEndpoint, hostile: HostileServer, fields: list[str]) -> None:
    hostile.replies["/token"] = sized(BODY, *fields)
    assert await refreshed(endpoint) == "rt"


@pytest.mark.parametrize(
    "fields", [["x: " + "x" * 70_000], [f"x-{number}: v" for number in range(600)]], ids=["line", "fields"]
)
async def test_larger_heads_are_refused(endpoint: TokenEndpoint, hostile: HostileServer, fields: list[str]) -> None:
    hostile.replies["/token"] = sized(BODY, *fields)
    with pytest.raises((BankOutcomeUnknown, BankResponseInvalid)):
        await refreshed(endpoint)


BROKEN_FRAMING = {
    "too long a content-length": reply(BODY, "content-length: 10000"),
    "no last chunk": reply(b"%x\r\n%b\r\n" % (len(BODY), BODY), "transfer-encoding: chunked"),
    "too long a chunk": reply(b"fff\r\n%b" % BODY, "transfer-encoding: chunked"),
    "compressed and cut": reply(gzip.compress(BODY), "content-encoding: gzip", "content-length: 10000"),
}


@pytest.mark.parametrize("broken", BROKEN_FRAMING)
async def test_tokens_are_read_if_the_framing_breaks_after_them(
    endpoint: TokenEndpoint, hostile: HostileServer, broken: str
) -> None:
    hostile.replies["/token"] = BROKEN_FRAMING[broken]
    with capture_log_events() as logs:
        assert await refreshed(endpoint) == "rt"
    assert "response_framing_invalid" in [line["event"] for line in logs]


async def test_tokens_are_read_if_the_connection_stays_open_after_them(
    endpoint: TokenEndpoint, hostile: HostileServer
) -> None:
    hostile.replies["/token"] = reply(BODY, "content-length: 10000", then_hang=True)
    assert await refreshed(endpoint, seconds=1) == "rt"


@pytest.mark.parametrize("body", [BODY[:-1], b"12", b'"text"', b"[]"])
async def test_a_response_that_may_be_incomplete_is_refused(
    endpoint: TokenEndpoint, hostile: HostileServer, body: bytes
) -> None:
    hostile.replies["/token"] = reply(body, "content-length: 10000")
    with pytest.raises(BankResponseInvalid, match="broke off"):
        await refreshed(endpoint)


async def test_a_refusal_is_read_although_it_has_line_breaks_and_is_not_utf_8(
    endpoint: TokenEndpoint, hostile: HostileServer
) -> None:
    error = b'{"error": "invalid_grant", "error_description": "r\xe9sili\xe9\nle 1er mai"}'
    hostile.replies["/token"] = sized(error, status=400)
    with pytest.raises(InvalidGrant):
        await refreshed(endpoint)


async def test_an_unsupported_coding_is_named(endpoint: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/token"] = sized(b"\x1b\x05\x80", "content-encoding: br")
    with pytest.raises(BankResponseInvalid, match="content coding 'br'"):
        await refreshed(endpoint)


async def test_a_revocation_succeeds_whatever_its_body(endpoint: TokenEndpoint, hostile: HostileServer) -> None:
    hostile.replies["/revocation"] = sized(b"\x1b\x05\x80", "content-encoding: br")
    await endpoint.revoke(OLD_TOKEN, "refresh_token", timeout_seconds=20)
    hostile.replies["/revocation"] = json_reply("done")
    await endpoint.revoke(OLD_TOKEN, "refresh_token", timeout_seconds=20)
