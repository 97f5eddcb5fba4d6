import asyncio

import httpx
import pytest

from app.errors import BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.oidc.provider import CacheTimes, Provider
from tests.oidc.providers import DISCOVERY, provider_for
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, json_reply
from tests.support.logs import capture_log_events

TIMES = CacheTimes()


async def test_concurrent_calls_share_one_discovery_request(scripted: Provider, hostile: HostileServer) -> None:
    await asyncio.gather(*(scripted.metadata() for _ in range(20)))
    assert hostile.count(DISCOVERY) == 1


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


@pytest.mark.parametrize("issuer", ["https://bank.example", "https://bank.example/"])
def test_the_discovery_url_is_below_the_issuer(client: httpx.AsyncClient, clock: AdjustableClock, issuer: str) -> None:
    assert provider_for(client, clock, issuer).discovery_url == f"https://bank.example{DISCOVERY}"
