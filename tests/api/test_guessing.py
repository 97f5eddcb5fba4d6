"""Guessing API keys: guessers are slowed, and nobody else, in whatever order they come."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.callers.api_keys import _checksum, new_api_key
from app.callers.failure_throttle import ThrottleLimits
from app.runtime import RuntimeOptions
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_problem
from tests.support.broker import Api, Broker
from tests.support.eventually import eventually

UNDELAYED = ThrottleLimits().burst
GUESSES = UNDELAYED + 30


def guess_at(key: str) -> str:
    """Return another key of the same name, with a right checksum, so that it is looked up and compared."""
    body = key[:16] + new_api_key().secret.get_secret_value()[16:-6]
    return body + _checksum(body)


@pytest.fixture
async def own_broker(brokers: BrokerFactory) -> Broker:
    """A broker that holds refusals for longer than a test takes."""
    limits = ThrottleLimits(per_second=0.01, max_delay=600.0)
    return await brokers(options=RuntimeOptions(throttle_limits=limits))


@pytest.fixture
async def victim(own_broker: Broker, sign_up: ApiFactory) -> Api:
    """Whose key is guessed at."""
    return await sign_up(broker=own_broker)


@pytest.fixture
async def guesses(own_broker: Broker, victim: Api) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """A flood of guesses at the victim's key, from the address that everybody here has."""
    limits = httpx.Limits(max_connections=GUESSES)
    async with httpx.AsyncClient(base_url=own_broker.url, limits=limits, timeout=600) as guesser:
        tasks = [
            asyncio.create_task(
                guesser.get("/v1/connections", headers={"authorization": f"Bearer {guess_at(victim.api_key)}"})
            )
            for _ in range(GUESSES)
        ]

        async def are_as_far_as_they_get() -> bool:
            return sum(task.done() for task in tasks) == UNDELAYED

        await eventually(are_as_far_as_they_get)
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_flood_of_guesses_is_slowed(guesses: list[asyncio.Task[httpx.Response]]) -> None:
    ended = [task for task in guesses if task.done()]
    assert len(ended) == UNDELAYED
    for task in ended:
        assert_problem(task.result(), 401, "unauthorized_caller")


async def test_a_right_key_is_never_slowed(
    guesses: list[asyncio.Task[httpx.Response]], own_broker: Broker, victim: Api, sign_up: ApiFactory
) -> None:
    """Neither one that was used before nor a new one, neither the one guessed at nor another, on either path."""
    newcomer = await sign_up(broker=own_broker)
    for api in (victim, newcomer, victim):
        assert (await api.get("/v1/connections")).status_code == 200
        assert (await api.query("con_unknown")).status_code == 404
    assert sum(task.done() for task in guesses) == UNDELAYED


async def test_a_right_key_is_not_slowed_by_wrong_ones_of_its_own(own_broker: Broker, victim: Api) -> None:
    for _ in range(UNDELAYED):
        refused = await victim.get("/v1/connections", headers={"authorization": f"Bearer {guess_at(victim.api_key)}"})
        assert_problem(refused, 401, "unauthorized_caller")
        assert (await victim.get("/v1/connections")).status_code == 200
