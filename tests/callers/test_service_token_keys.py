"""Caching service tokens, and fetching the keys of their issuer."""

import asyncio

import pytest
from joserfc.jwk import RSAKey

from tests.callers.service_token_client import (
    CACHE_TIMES,
    CACHE_TTL,
    DISCOVERY,
    Client,
    Issuer,
)
from tests.oidc.issuer import signed
from tests.support.gates import stop_before
from tests.support.hostile import DROP, HANG, json_reply


async def test_a_cached_token_is_not_validated_again(
    client: Client, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    caller = await client.caller(token)
    with monkeypatch.context() as patched:
        patched.setattr("app.callers.service_tokens.parse_header", None)
        assert await client.caller(token) is caller
        assert await client.authenticator.authenticate(f"bearer {token}") is caller
    issuer.clock.advance(CACHE_TTL + 1)
    assert await client.caller(token) is not caller


async def test_a_cached_token_expires(client: Client, issuer: Issuer) -> None:
    token = issuer.token(exp=lambda now: now + 2)
    caller = await client.caller(token)
    issuer.clock.advance(3)
    # Within the leeway it is valid, but validated each time.
    assert await client.caller(token) is not caller
    issuer.clock.advance(61)
    assert await client.rejection_of(token) == "service_token_expired"


async def test_a_rejected_token_is_not_cached(client: Client, issuer: Issuer) -> None:
    token = issuer.token(nbf=lambda now: now + 100)
    assert await client.rejection_of(token) == "service_token_not_before"
    issuer.clock.advance(50)
    await client.caller(token)


async def test_a_rotated_signing_key_is_fetched_and_the_old_one_rejected(
    client: Client, issuer: Issuer, other_key: RSAKey
) -> None:
    await client.caller(issuer.token())
    issuer.publish(other_key)
    await client.caller(signed(issuer.claims(), other_key))
    assert await client.rejection_of(issuer.token(jti="new")) == "service_token_key"


async def test_two_current_signing_keys_are_both_accepted(client: Client, issuer: Issuer, other_key: RSAKey) -> None:
    issuer.publish(issuer.key, other_key)
    for token in (issuer.token(), signed(issuer.claims(), other_key)):
        await client.caller(token)
    assert issuer.server.count("/jwks") == 1


async def test_concurrent_callers_fetch_the_signing_keys_once(client: Client, issuer: Issuer) -> None:
    tokens = [issuer.token(sub=f"service-{number}") for number in range(50)]
    callers = await asyncio.gather(*(client.caller(token) for token in tokens))
    assert len({caller.id for caller in callers}) == 50
    assert (issuer.server.count(DISCOVERY), issuer.server.count("/jwks")) == (1, 1)


OUTAGES = {
    "refused": DROP,
    "silent": HANG,
    "broken": json_reply({}, 503),
    "moved": json_reply({}, 302, location="https://evil.example/jwks"),
    "nonsense": json_reply([]),
    "empty": json_reply({"keys": []}),
}


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
async def test_without_keys_the_broker_is_unavailable_rather_than_the_caller_unknown(
    client: Client, issuer: Issuer, path: str, outage: str
) -> None:
    working = issuer.server.replies[path]
    issuer.server.replies[path] = OUTAGES[outage]
    assert await client.outage_with(issuer.token()) == "service_token_keys_unavailable"
    issuer.server.replies[path] = working
    # A failed discovery is cached briefly.
    issuer.clock.advance(2)
    await client.caller(issuer.token())


async def test_a_discovery_document_of_another_issuer_is_not_used(client: Client, issuer: Issuer) -> None:
    issuer.server.announce(issuer="https://evil.example")
    assert await client.outage_with(issuer.token()) == "service_token_keys_unavailable"


async def test_cached_signing_keys_survive_an_outage_of_the_issuer(
    client: Client, issuer: Issuer, other_key: RSAKey
) -> None:
    await client.caller(issuer.token())
    issuer.server.replies.clear()
    issuer.clock.advance(CACHE_TIMES.keys_lifetime - 10)
    await client.caller(issuer.token())
    # The issuer may have such a key by now.
    assert await client.outage_with(signed(issuer.claims(), other_key)) == "service_token_keys_unavailable"
    await client.caller(issuer.token(jti="another"))
    issuer.clock.advance(20)
    assert await client.outage_with(issuer.token()) == "service_token_keys_unavailable"


async def test_a_flood_of_unknown_signing_keys_delays_no_valid_token(
    client: Client, issuer: Issuer, other_key: RSAKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.caller(issuer.token())
    service_tokens = client.authenticator._service_tokens
    assert service_tokens is not None
    renewal = stop_before(monkeypatch, service_tokens.provider, "_fetch_document")
    flood = [
        asyncio.create_task(client.outage_with(signed(issuer.claims(jti=number), other_key))) for number in range(100)
    ]
    await renewal.wait_until_reached()
    await client.caller(issuer.token(sub="a valid caller"))
    assert not any(task.done() for task in flood)
    issuer.server.replies["/jwks"] = json_reply({}, 503)
    renewal.open()
    assert set(await asyncio.gather(*flood)) == {"service_token_keys_unavailable"}
    assert issuer.server.count("/jwks") == 2
