"""Guesses of API keys are delayed, and no other request is."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.callers.api_keys import _checksum, new_api_key
from app.callers.failure_throttle import ThrottleLimits
from app.runtime import RuntimeOptions
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_problem
from tests.support.eventually import eventually

UNDELAYED = ThrottleLimits().burst
GUESSES = UNDELAYED + 30


def guess_at(key: str) -> str:
    """Return a wrong key with the same prefix and a right checksum, so that it is looked up and compared."""
    body = key[:16] + new_api_key().secret.get_secret_value()[16:-6]
    return body + _checksum(body)


@pytest.fixture
async def own_broker(brokers: BrokerFactory) -> Broker:
    """A broker that delays rejections for longer than a test takes."""
    limits = ThrottleLimits(per_second=0.01, max_delay=600.0)
    return await brokers(options=RuntimeOptions(throttle_limits=limits))


@pytest.fixture
async def victim(own_broker: Broker, sign_up: ApiFactory) -> Api:
    """The caller whose key is guessed."""
    return await sign_up(broker=own_broker)


@pytest.fixture
async def guesses(own_broker: Broker, victim: Api) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """Many guesses of the victim's key, from the IP address that all callers of these tests share."""
    limits = httpx.Limits(max_connections=GUESSES)
    async with httpx.AsyncClient(base_url=own_broker.url, limits=limits, timeout=600) as guesser:
        tasks = [
            asyncio.create_task(
                guesser.get("/v1/connections", headers={"authorization": f"Bearer {guess_at(victim.api_key)}"})
            )
            for _ in range(GUESSES)
        ]

        async def only_delayed_ones_are_left() -> bool:
            return sum(task.done() for task in tasks) == UNDELAYED

        await eventually(only_delayed_ones_are_left)
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_guesses_are_delayed(guesses: list[asyncio.Task[httpx.Response]]) -> None:
    done = [task for task in guesses if task.done()]
    assert len(done) == UNDELAYED
    for task in done:
        assert_problem(task.result(), 401, "unauthorized_caller")


async def test_a_right_key_is_never_delayed(
    guesses: list[asyncio.Task[httpx.Response]], own_broker: Broker, victim: Api, sign_up: ApiFactory
) -> None:
    """Neither a known key nor a new one, neither the guessed key nor another, for queries and other calls."""
    newcomer = await sign_up(broker=own_broker)
    for api in (victim, newcomer, victim):
        assert (await api.get("/v1/connections")).status_code == 200
        assert (await api.query("con_unknown")).status_code == 404
    assert sum(task.done() for task in guesses) == UNDELAYED


async def test_a_right_key_is_not_delayed_by_wrong_keys_of_the_same_caller(own_broker: Broker, victim: Api) -> None:
    for _ in range(UNDELAYED):
        refused = await victim.get("/v1/connections", headers={"authorization": f"Bearer {guess_at(victim.api_key)}"})
        assert_problem(refused, 401, "unauthorized_caller")
        assert (await victim.get("/v1/connections")).status_code == 200
