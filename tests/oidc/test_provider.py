import asyncio
import itertools
import json

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import JsonValue

from app.base.urls import is_https_or_loopback
from app.errors import BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.oidc.provider import FAILURE_LIFETIME, METADATA_LIFETIME, METADATA_RETRY, EndpointOverrides, Provider
from app.oidc.transport import Answer
from sandbox.client import SandboxClient
from tests.support.clock import SteerableClock
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, Reply, json_reply
from tests.support.logs import logged_here

DISCOVERY = "/.well-known/openid-configuration"


def provider_of(
    client: httpx.AsyncClient,
    clock: SteerableClock,
    issuer: str,
    *,
    timeout: float = 10,
    overrides: EndpointOverrides | None = None,
) -> Provider:
    return Provider(
        client,
        clock,
        issuer=issuer,
        overrides=overrides or EndpointOverrides(),
        timeout=timeout,
        is_allowed=is_https_or_loopback,
    )


@pytest.fixture
def scripted(client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer, client_key: RSAKey) -> Provider:
    """The provider that the hostile server plays, well-behaved at first."""
    hostile.announce()
    hostile.replies["/jwks"] = json_reply({"keys": [client_key.as_dict(private=False)]})
    return provider_of(client, clock, hostile.url)


async def test_the_sandbox_is_discovered(
    client: httpx.AsyncClient, clock: SteerableClock, bank: SandboxClient, bank_url: str
) -> None:
    provider = provider_of(client, clock, bank_url)
    metadata = await provider.metadata()
    assert metadata.issuer == bank_url
    assert metadata.authorization_endpoint == f"{bank_url}/connect/authorize"
    assert metadata.token_endpoint == f"{bank_url}/connect/token"
    assert metadata.revocation_endpoint == f"{bank_url}/connect/revocation"
    assert metadata.jwks_uri == f"{bank_url}{DISCOVERY}/jwks"
    assert not metadata.sends_issuer
    await bank.set_faults(announce_iss=True)
    clock.advance(METADATA_LIFETIME + 1)

    async def is_renewed() -> bool:
        return (await provider.metadata()).sends_issuer

    await eventually(is_renewed)


async def test_the_metadata_are_asked_for_once(scripted: Provider, hostile: HostileServer) -> None:
    await asyncio.gather(*(scripted.metadata() for _ in range(20)))
    assert hostile.count(DISCOVERY) == 1


@pytest.mark.parametrize("issuer", ["https://evil.example", None, "", 1])
async def test_a_document_of_another_issuer_is_refused(
    scripted: Provider, hostile: HostileServer, issuer: object
) -> None:
    hostile.announce(issuer=issuer)
    with pytest.raises(BankResponseInvalid, match="another issuer"):
        await scripted.metadata()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        *("http://evil.example/x", "https://user:pass@bank.example/", "/relative", "", 1, []),
        *(f"https://bank.example/{'x' * 2_000}", "https://bänk.example/x"),
    ],
    ids=itertools.count(),
)
async def test_an_endpoint_that_must_not_be_used_is_refused_and_named(
    scripted: Provider, hostile: HostileServer, name: str, value: object
) -> None:
    hostile.announce(**{name: value})
    with pytest.raises(BankResponseInvalid, match=f"BROKER_STITCH_{name.upper()}"):
        await scripted.metadata()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
async def test_an_endpoint_that_is_missing_is_named(scripted: Provider, hostile: HostileServer, name: str) -> None:
    hostile.announce(**{name: None})
    with pytest.raises(BankResponseInvalid, match=name):
        await scripted.metadata()


async def test_a_bank_need_not_have_a_revocation_endpoint(scripted: Provider, hostile: HostileServer) -> None:
    hostile.announce(revocation_endpoint=None)
    assert (await scripted.metadata()).revocation_endpoint is None


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
async def test_a_document_that_cannot_be_read_is_a_bad_answer(
    client: httpx.AsyncClient, clock: SteerableClock, bank: SandboxClient, bank_url: str, fault: JsonValue
) -> None:
    await bank.set_faults(discovery=fault)
    with pytest.raises(BankResponseInvalid):
        await provider_of(client, clock, bank_url).metadata()


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"", b"\xff"])
async def test_a_document_that_is_no_object_is_a_bad_answer(
    scripted: Provider, hostile: HostileServer, body: bytes
) -> None:
    hostile.replies[DISCOVERY] = Reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()


async def test_a_document_that_nests_without_end_is_a_bad_answer(scripted: Provider, hostile: HostileServer) -> None:
    hostile.replies[DISCOVERY] = Reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"[" * 100_000)
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()


async def test_a_bank_that_hangs_is_given_up(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    hostile.replies[DISCOVERY] = HANG
    with pytest.raises(BankOutcomeUnknown):
        await provider_of(client, clock, hostile.url, timeout=1).metadata()


async def test_a_failure_is_shared_by_all_who_wait_and_by_those_who_come_just_after(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    failures = await asyncio.gather(*(scripted.metadata() for _ in range(20)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {BankResponseInvalid}
    with pytest.raises(BankResponseInvalid):
        await scripted.metadata()
    assert hostile.count(DISCOVERY) == 1

    hostile.announce()
    clock.advance(FAILURE_LIFETIME)
    assert (await scripted.metadata()).issuer == hostile.url


async def test_who_goes_away_takes_the_metadata_from_nobody(scripted: Provider) -> None:
    first = asyncio.create_task(scripted.metadata())
    await asyncio.sleep(0)
    second = asyncio.create_task(scripted.metadata())
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_a_bank_that_is_not_there_is_unreachable(client: httpx.AsyncClient, clock: SteerableClock) -> None:
    with pytest.raises(BankUnreachable):
        await provider_of(client, clock, "http://bank.invalid").metadata()


async def test_old_metadata_serve_while_the_bank_is_down(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    before = await scripted.metadata()
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    clock.advance(METADATA_LIFETIME + 1)
    with logged_here() as logs:
        assert await scripted.metadata() == before

        async def is_noticed() -> bool:
            return "discovery_unavailable" in [line["event"] for line in logs]

        await eventually(is_noticed)
        assert await scripted.metadata() == before
    assert [line["event"] for line in logs].count("discovery_unavailable") == 1
    assert hostile.count(DISCOVERY) == 2

    hostile.announce(token_endpoint=f"{hostile.url}/moved")
    clock.advance(METADATA_RETRY + 1)

    async def is_renewed() -> bool:
        return (await scripted.metadata()).token_endpoint == f"{hostile.url}/moved"

    await eventually(is_renewed)


async def test_after_a_long_quiet_newer_metadata_are_waited_for(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    before = await scripted.metadata()
    hostile.announce(token_endpoint=f"{hostile.url}/moved")
    clock.advance(3 * METADATA_LIFETIME)
    assert (await scripted.metadata()).token_endpoint == f"{hostile.url}/moved"
    hostile.replies[DISCOVERY] = json_reply({}, 503)
    clock.advance(3 * METADATA_LIFETIME)
    assert (await scripted.metadata()).issuer == before.issuer


async def test_who_has_known_metadata_does_not_wait_for_newer_ones(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    before = await scripted.metadata()
    hostile.replies[DISCOVERY] = HANG
    clock.advance(METADATA_LIFETIME + 1)
    # Half of what the provider waits for the bank.
    async with asyncio.timeout(5):
        assert await scripted.metadata() == before


async def test_overrides_win(client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer) -> None:
    hostile.announce(token_endpoint="http://evil.example/token")
    overrides = EndpointOverrides(
        token_endpoint="https://bank.example/token", revocation_endpoint="https://bank.example/revocation"
    )
    metadata = await provider_of(client, clock, hostile.url, overrides=overrides).metadata()
    assert metadata.token_endpoint == "https://bank.example/token"
    assert metadata.revocation_endpoint == "https://bank.example/revocation"
    assert metadata.jwks_uri == f"{hostile.url}/jwks"


async def test_sufficient_overrides_need_no_discovery(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    overrides = EndpointOverrides("https://a.example/", "https://b.example/", None, "https://c.example/")
    metadata = await provider_of(client, clock, hostile.url, overrides=overrides).metadata()
    assert (metadata.authorization_endpoint, metadata.revocation_endpoint) == ("https://a.example/", None)
    assert hostile.received == []


@pytest.mark.parametrize("issuer", ["https://bank.example", "https://bank.example/"])
def test_the_document_is_below_the_issuer(client: httpx.AsyncClient, clock: SteerableClock, issuer: str) -> None:
    assert provider_of(client, clock, issuer).discovery_url == f"https://bank.example{DISCOVERY}"


async def test_keys_are_fetched_once_and_again_after_their_lifetime(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    await asyncio.gather(*(scripted.keys() for _ in range(10)))
    assert hostile.count("/jwks") == 1
    clock.advance(3_601)
    await scripted.keys()
    assert hostile.count("/jwks") == 2


async def test_keys_that_did_not_do_are_fetched_anew_once_for_all(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    known = await scripted.keys()
    clock.advance(2)
    found = await asyncio.gather(*(scripted.keys(newer_than=known) for _ in range(10)))
    assert hostile.count("/jwks") == 2
    assert all(keys is found[0] for keys in found)
    assert found[0] is not known


async def test_known_keys_are_kept_when_newer_ones_cannot_be_had(
    scripted: Provider, hostile: HostileServer, clock: SteerableClock
) -> None:
    known = await scripted.keys()
    clock.advance(2)
    hostile.replies["/jwks"] = json_reply({}, 503)
    with pytest.raises(BankResponseInvalid):
        await scripted.keys(newer_than=known)
    assert await scripted.keys() is known


@pytest.mark.parametrize(
    "document", [{}, {"keys": 1}, {"keys": [1]}, {"keys": [{"kty": "RSA"}]}, {"keys": [{"kty": "RSA", "n": 1, "e": 2}]}]
)
async def test_keys_that_cannot_be_read_are_a_bad_answer(
    scripted: Provider, hostile: HostileServer, document: object
) -> None:
    hostile.replies["/jwks"] = json_reply(document)
    with pytest.raises(BankResponseInvalid):
        await scripted.keys()


@pytest.mark.parametrize(
    "unknown",
    [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"}],
)
async def test_a_key_that_is_not_supported_spoils_nothing(
    scripted: Provider, hostile: HostileServer, client_key: RSAKey, unknown: dict[str, str]
) -> None:
    hostile.replies["/jwks"] = json_reply({"keys": [unknown, client_key.as_dict(private=False)]})
    assert [key.kid for key in (await scripted.keys()).keys] == ["client-key"]


async def test_an_issuer_on_the_network_does_not_name_a_service_of_this_machine(
    client: httpx.AsyncClient, clock: SteerableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = "https://bank.example"
    document = {"issuer": issuer, "authorization_endpoint": f"{issuer}/a", "jwks_uri": f"{issuer}/j"}
    document["token_endpoint"] = "http://127.0.0.1:8500/token"

    async def answer(*_: object, **__: object) -> Answer:
        return Answer(200, httpx.Headers(), json.dumps(document).encode())

    monkeypatch.setattr("app.oidc.provider.send", answer)
    with pytest.raises(BankResponseInvalid, match="token_endpoint"):
        await provider_of(client, clock, issuer).metadata()
