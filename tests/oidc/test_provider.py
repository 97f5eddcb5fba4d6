import asyncio
import itertools
import json

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import JsonValue

from app.base.urls import is_https_or_loopback
from app.errors import BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.oidc.provider import CacheTimes, Provider
from app.oidc.provider_metadata import NO_OVERRIDES, EndpointOverrides
from app.oidc.transport import BankResponse
from sandbox.client import SandboxClient
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, Reply, json_reply
from tests.support.logs import capture_log_events

DISCOVERY = "/.well-known/openid-configuration"
TIMES = CacheTimes()


def provider_for(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    issuer: str,
    *,
    timeout: float = 10,
    overrides: EndpointOverrides = NO_OVERRIDES,
) -> Provider:
    return Provider(
        client,
        clock,
        issuer=issuer,
        overrides=overrides,
        timeout=timeout,
        is_url_allowed=is_https_or_loopback,
    )


@pytest.fixture
def scripted(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer, client_key: RSAKey) -> Provider:
    """The hostile server as a provider, which behaves well at first."""
    hostile.announce()
    hostile.replies["/jwks"] = json_reply({"keys": [client_key.as_dict(private=False)]})
    return provider_for(client, clock, hostile.url)


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


async def test_concurrent_calls_share_one_discovery_request(scripted: Provider, hostile: HostileServer) -> None:
    await asyncio.gather(*(scripted.metadata() for _ in range(20)))
    assert hostile.count(DISCOVERY) == 1


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


async def test_a_bank_that_does_not_answer_times_out(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    hostile.replies[DISCOVERY] = HANG
    with pytest.raises(BankOutcomeUnknown):
        await provider_for(client, clock, hostile.url, timeout=1).metadata()


async def test_a_failure_is_shared_by_concurrent_calls_and_by_those_just_after(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    failures = await asyncio.gather(*(scripted.metadata() for _ in range(20)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {BankResponseInvalid}
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()
    assert hostile.count(DISCOVERY) == 1

    hostile.announce()
    clock.advance(TIMES.failure_lifetime)
    assert (await scripted.metadata()).issuer == hostile.url


async def test_a_cancelled_call_does_not_cancel_the_request_that_others_wait_for(scripted: Provider) -> None:
    first = asyncio.create_task(scripted.metadata())
    await asyncio.sleep(0)
    second = asyncio.create_task(scripted.metadata())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).issuer == scripted.issuer


async def test_a_bank_without_an_address_is_unreachable(client: httpx.AsyncClient, clock: AdjustableClock) -> None:
    with pytest.raises(BankUnreachable):
        await provider_for(client, clock, "http://bank.invalid").metadata()


async def test_stale_metadata_are_used_while_the_bank_is_down(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    before = await scripted.metadata()
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    clock.advance(TIMES.metadata_lifetime + 1)
    with capture_log_events() as logs:
        assert await scripted.metadata() == before

        async def failure_is_logged() -> bool:
            return "discovery_unavailable" in [line["event"] for line in logs]

        await eventually(failure_is_logged)
        assert await scripted.metadata() == before
    assert [line["event"] for line in logs].count("discovery_unavailable") == 1
    assert hostile.count(DISCOVERY) == 2

    hostile.announce(token_endpoint=f"{hostile.url}/moved")
    clock.advance(TIMES.metadata_retry_interval + 1)

    async def is_renewed() -> bool:
        return (await scripted.metadata()).token_endpoint == f"{hostile.url}/moved"

    await eventually(is_renewed)


async def test_metadata_that_are_far_too_old_are_not_returned_before_a_renewal(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    before = await scripted.metadata()
    hostile.announce(token_endpoint=f"{hostile.url}/moved")
    clock.advance(3 * TIMES.metadata_lifetime)
    assert (await scripted.metadata()).token_endpoint == f"{hostile.url}/moved"
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    clock.advance(3 * TIMES.metadata_lifetime)
    assert (await scripted.metadata()).issuer == before.issuer


async def test_stale_metadata_are_returned_without_waiting_for_the_renewal(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    before = await scripted.metadata()
    hostile.replies[DISCOVERY] = HANG
    clock.advance(TIMES.metadata_lifetime + 1)
    # Half of the provider's own timeout.
    async with asyncio.timeout(5):
        assert await scripted.metadata() == before


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


@pytest.mark.parametrize("issuer", ["https://bank.example", "https://bank.example/"])
def test_the_discovery_url_is_below_the_issuer(client: httpx.AsyncClient, clock: AdjustableClock, issuer: str) -> None:
    assert provider_for(client, clock, issuer).discovery_url == f"https://bank.example{DISCOVERY}"


async def test_keys_are_fetched_once_and_again_after_their_lifetime(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    await asyncio.gather(*(scripted.signing_keys() for _ in range(10)))
    assert hostile.count("/jwks") == 1
    clock.advance(TIMES.keys_lifetime + 1)
    await scripted.signing_keys()
    assert hostile.count("/jwks") == 2


async def test_keys_are_renewed_in_the_background_before_their_lifetime_ends(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    known = await scripted.signing_keys()
    clock.advance(TIMES.keys_renewal_age + 1)
    assert await scripted.signing_keys() is known

    async def are_renewed() -> bool:
        return await scripted.signing_keys() is not known

    await eventually(are_renewed)
    assert hostile.count("/jwks") == 2


async def test_known_keys_are_used_without_waiting_while_their_renewal_fails(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    known = await scripted.signing_keys()
    hostile.replies["/jwks"] = json_reply({}, 503)
    clock.advance(TIMES.keys_renewal_age + 1)
    with capture_log_events() as logs:
        for _ in range(10):
            assert await scripted.signing_keys() is known

        async def failure_is_logged() -> bool:
            return "jwks_unavailable" in [line["event"] for line in logs]

        await eventually(failure_is_logged)
        assert await scripted.signing_keys() is known
    assert hostile.count("/jwks") == 2
    clock.advance(TIMES.keys_lifetime)
    with pytest.raises(BankResponseInvalid):
        await scripted.signing_keys()


async def test_a_renewal_that_hangs_delays_no_call(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    known = await scripted.signing_keys()
    hostile.replies["/jwks"] = HANG
    clock.advance(TIMES.keys_renewal_age + 1)
    # Half of the provider's own timeout.
    async with asyncio.timeout(5):
        for _ in range(2):
            assert await scripted.signing_keys() is known
            clock.advance(TIMES.keys_retry_interval)
            await asyncio.sleep(0.01)


async def test_concurrent_calls_for_newer_keys_share_one_request(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    known = await scripted.signing_keys()
    clock.advance(2)
    results = await asyncio.gather(*(scripted.newer_signing_keys(known) for _ in range(10)))
    assert hostile.count("/jwks") == 2
    assert all(keys is results[0] for keys in results)
    assert results[0] is not known


async def test_known_keys_are_kept_if_newer_ones_cannot_be_fetched(
    scripted: Provider, hostile: HostileServer, clock: AdjustableClock
) -> None:
    known = await scripted.signing_keys()
    clock.advance(2)
    hostile.replies["/jwks"] = json_reply({}, 503)
    with pytest.raises(BankResponseInvalid):
        await scripted.newer_signing_keys(known)
    assert await scripted.signing_keys() is known


@pytest.mark.parametrize(
    "document", [{}, {"keys": 1}, {"keys": [1]}, {"keys": [{"kty": "RSA"}]}, {"keys": [{"kty": "RSA", "n": 1, "e": 2}]}]
)
async def test_unreadable_keys_are_an_invalid_response(
    scripted: Provider, hostile: HostileServer, document: object
) -> None:
    hostile.replies["/jwks"] = json_reply(document)
    with pytest.raises(BankResponseInvalid):
        await scripted.signing_keys()


@pytest.mark.parametrize(
    "unknown",
    [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"}],
)
async def test_an_unsupported_key_is_ignored(
    scripted: Provider, hostile: HostileServer, client_key: RSAKey, unknown: dict[str, str]
) -> None:
    hostile.replies["/jwks"] = json_reply({"keys": [unknown, client_key.as_dict(private=False)]})
    assert [key.kid for key in (await scripted.signing_keys()).keys] == ["client-key"]


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
