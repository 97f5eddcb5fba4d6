import itertools
import json

import httpx
import pytest
from pydantic import JsonValue

from app.errors import BankResponseInvalid
from app.oidc.provider import CacheTimes, Provider
from app.oidc.provider_metadata import EndpointOverrides
from app.oidc.transport import BankResponse
from sandbox.client import SandboxClient
from tests.oidc.providers import DISCOVERY, provider_for
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually
from tests.support.hostile import HostileServer, Reply, json_reply

TIMES = CacheTimes()


async def test_the_sandbox_is_discovered(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str
) -> None:
    provider = provider_for(client, clock, bank_url)
    metadata = await provider.metadata()
    assert metadata.issuer == bank_url
    assert metadata.authorization_endpoint == f"{bank_url}/connect/authorize"
    assert metadata.token_endpoint == f"{bank_url}/connect/token"
    assert metadata.revocation_endpoint == f"{bank_url}/connect/revocation"
    assert metadata.jwks_uri == f"{bank_url}{DISCOVERY}/jwks"
    assert not metadata.authorization_response_iss_parameter_supported
    await bank.set_faults(announce_iss=True)
    clock.advance(TIMES.metadata_lifetime + 1)

    async def is_renewed() -> bool:
        return (await provider.metadata()).authorization_response_iss_parameter_supported

    await eventually(is_renewed)


@pytest.mark.parametrize("issuer", ["https://evil.example", None, "", 1])
async def test_a_discovery_document_of_another_issuer_is_refused(
    scripted: Provider, hostile: HostileServer, issuer: object
) -> None:
    hostile.announce(issuer=issuer)
    with pytest.raises(BankResponseInvalid, match="another issuer"):
        await scripted.metadata()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        *("http://evil.example/x", "https://user:pass@bank.example/", "/relative", 1, []),
        *(f"https://bank.example/{'x' * 2_000}", "https://bänk.example/x"),
    ],
    ids=itertools.count(),
)
async def test_an_unusable_endpoint_is_refused_and_named(
    scripted: Provider, hostile: HostileServer, name: str, value: object
) -> None:
    hostile.announce(**{name: value})
    with pytest.raises(BankResponseInvalid, match=f"BROKER_STITCH_{name.upper()}"):
        await scripted.metadata()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("value", [None, ""])
async def test_a_missing_endpoint_is_named(
    scripted: Provider, hostile: HostileServer, name: str, value: str | None
) -> None:
    hostile.announce(**{name: value})
    with pytest.raises(BankResponseInvalid, match=name):
        await scripted.metadata()


async def test_the_revocation_endpoint_is_optional(scripted: Provider, hostile: HostileServer) -> None:
    hostile.announce(revocation_endpoint=None)
    assert (await scripted.metadata()).revocation_endpoint is None


@pytest.mark.parametrize("empty", [None, ""])
async def test_null_and_empty_members_are_absent(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer, empty: str | None
) -> None:
    names = (
        "revocation_endpoint",
        "pushed_authorization_request_endpoint",
        "dpop_signing_alg_values_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "authorization_response_iss_parameter_supported",
    )
    hostile.announce(revocation_endpoint=None)
    expected = await provider_for(client, clock, hostile.url).metadata()
    hostile.replies[DISCOVERY] = json_reply({**hostile.document(), **dict.fromkeys(names, empty)})
    assert await provider_for(client, clock, hostile.url).metadata() == expected


@pytest.mark.parametrize(
    "fault",
    [
        {"redirect": "https://evil.example/.well-known/openid-configuration"},
        {"huge": 2_000_000},
        {"garbage": True},
        {"status": 500},
        {"status": 404},
        {"half_answer": True},
        {"error": "invalid_request"},
    ],
)
async def test_an_unreadable_discovery_document_is_an_invalid_response(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str, fault: JsonValue
) -> None:
    await bank.set_faults(discovery=fault)
    with pytest.raises(BankResponseInvalid):
        await provider_for(client, clock, bank_url).metadata()


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"", b"\xff"])
async def test_a_discovery_document_that_is_not_an_object_is_an_invalid_response(
    scripted: Provider, hostile: HostileServer, body: bytes
) -> None:
    hostile.replies[DISCOVERY] = Reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()


async def test_a_discovery_document_that_is_nested_too_deeply_is_an_invalid_response(
    scripted: Provider, hostile: HostileServer
) -> None:
    hostile.replies[DISCOVERY] = Reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"[" * 100_000)
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()


async def test_overrides_take_precedence(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    hostile.announce(token_endpoint="http://evil.example/token")
    overrides = EndpointOverrides(
        token_endpoint="https://bank.example/token", revocation_endpoint="https://bank.example/revocation"
    )
    metadata = await provider_for(client, clock, hostile.url, overrides=overrides).metadata()
    assert metadata.token_endpoint == "https://bank.example/token"
    assert metadata.revocation_endpoint == "https://bank.example/revocation"
    assert metadata.jwks_uri == f"{hostile.url}/jwks"


async def test_sufficient_overrides_need_no_discovery(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    overrides = EndpointOverrides(
        authorization_endpoint="https://a.example/",
        token_endpoint="https://b.example/",
        jwks_uri="https://c.example/",
    )
    metadata = await provider_for(client, clock, hostile.url, overrides=overrides).metadata()
    assert (metadata.authorization_endpoint, metadata.revocation_endpoint) == ("https://a.example/", None)
    assert hostile.received == []


async def test_an_issuer_on_the_network_cannot_name_a_service_on_this_machine(
    client: httpx.AsyncClient, clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = "https://bank.example"
    document = {"issuer": issuer, "authorization_endpoint": f"{issuer}/a", "jwks_uri": f"{issuer}/j"}
    document["token_endpoint"] = "http://127.0.0.1:8500/token"

    async def answer(*_: object, **__: object) -> BankResponse:
        return BankResponse(200, httpx.Headers(), json.dumps(document).encode())

    monkeypatch.setattr("app.oidc.provider.send", answer)
    with pytest.raises(BankResponseInvalid, match="token_endpoint"):
        await provider_for(client, clock, issuer).metadata()
