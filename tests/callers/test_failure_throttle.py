"""Rejections of wrong credentials are delayed, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from app.callers.failure_throttle import FailureThrottle, ThrottleLimits
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually

DEFAULTS = ThrottleLimits()
# So slow that no delayed rejection is sent during a test.
SLOW = ThrottleLimits(per_second=0.01, max_delay=600)
# So fast that all of them are sent soon.
FAST = ThrottleLimits(per_second=1_000)
Start = Any


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start coroutines, and return how many of all started ones have ended. Cancel the rest after the test."""
    tasks: list[asyncio.Task[None]] = []

    async def start(*work: Coroutine[Any, Any, None]) -> int:
        tasks.extend(asyncio.create_task(coroutine) for coroutine in work)
        for _ in range(5):
            await asyncio.sleep(0)
        return sum(task.done() for task in tasks)

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_rejections_are_not_delayed_and_the_others_are(clock: AdjustableClock, start: Start) -> None:
    throttle = FailureThrottle(clock, SLOW)
    assert await start(*(throttle.delay() for _ in range(SLOW.burst + 3))) == SLOW.burst


async def test_delayed_rejections_are_sent_in_the_end(clock: AdjustableClock, start: Start) -> None:
    throttle = FailureThrottle(clock, FAST)
    await start(*(throttle.delay() for _ in range(FAST.burst + 3)))

    async def all_are_sent() -> bool:
        return bool(await start() == FAST.burst + 3)

    await eventually(all_are_sent)


async def test_after_a_quiet_time_rejections_are_not_delayed(clock: AdjustableClock, start: Start) -> None:
    throttle = FailureThrottle(clock, SLOW)
    before = await start(*(throttle.delay() for _ in range(SLOW.max_delayed)))
    clock.advance(3_600)
    assert await start(*(throttle.delay() for _ in range(SLOW.burst))) == before + SLOW.burst


async def test_no_rejection_is_delayed_longer_than_the_maximum(clock: AdjustableClock, start: Start) -> None:
    throttle = FailureThrottle(clock, ThrottleLimits(max_delay=1 / DEFAULTS.per_second))
    await start(*(throttle.delay() for _ in range(DEFAULTS.burst + 100)))

    async def all_are_sent() -> bool:
        return bool(await start() == DEFAULTS.burst + 100)

    await eventually(all_are_sent)


async def test_a_flood_of_rejections_keeps_a_limited_number_of_connections_open(
    clock: AdjustableClock, start: Start
) -> None:
    throttle = FailureThrottle(clock, SLOW)
    assert await start(*(throttle.delay() for _ in range(1_000))) == 1_000 - SLOW.max_delayed
