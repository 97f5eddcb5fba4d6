import asyncio

import pytest
from joserfc.jwk import RSAKey

from app.errors import BankResponseInvalid
from app.oidc.provider import CacheTimes, Provider
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, json_reply
from tests.support.logs import capture_log_events

TIMES = CacheTimes()


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
