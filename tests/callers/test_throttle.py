"""The brake on guessing keys."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from app.callers import throttle as guess_brake
from app.callers.throttle import A_SECOND, AT_ONCE, MOST_HELD, FailureThrottle
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually

Start = Any


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Begins coroutines, tells how many have ended, and ends the rest with the test."""
    begun: list[asyncio.Task[None]] = []

    async def begin(*work: Coroutine[Any, Any, None]) -> int:
        begun.extend(asyncio.create_task(one) for one in work)
        for _ in range(5):
            await asyncio.sleep(0)
        return sum(task.done() for task in begun)

    yield begin
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)


async def test_some_leave_at_once_and_the_others_one_by_one(clock: AdjustableClock, start: Start) -> None:
    brake = FailureThrottle(clock)
    assert await start(*(brake.hold() for _ in range(AT_ONCE + 3))) == AT_ONCE

    async def all_have_left() -> bool:
        left: int = await start()
        return left == AT_ONCE + 3

    await eventually(all_have_left)


async def test_a_quiet_time_is_forgiven(clock: AdjustableClock, start: Start) -> None:
    brake = FailureThrottle(clock)
    await start(*(brake.hold() for _ in range(MOST_HELD)))
    clock.advance(3_600)
    before = await start()
    assert await start(*(brake.hold() for _ in range(AT_ONCE))) == before + AT_ONCE


async def test_none_is_held_for_longer_than_the_longest(
    clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setattr(guess_brake, "LONGEST", 1 / A_SECOND)
    brake = FailureThrottle(clock)
    await start(*(brake.hold() for _ in range(AT_ONCE + 100)))

    async def all_have_left() -> bool:
        left: int = await start()
        return left == AT_ONCE + 100

    await eventually(all_have_left)


async def test_a_flood_holds_only_so_many_connections(
    clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setattr(guess_brake, "LONGEST", 60.0)
    brake = FailureThrottle(clock)
    assert await start(*(brake.hold() for _ in range(1_000))) == 1_000 - MOST_HELD
