"""Being told to stop: readiness ends at once, the server a little later, and at once for whoever insists."""

import asyncio
import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from app.concurrency.shutdown import Stopping
from tests.support.eventually import eventually


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that reached the server, which handled them before."""
    numbers: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_the_server_is_told_at_once_where_there_is_no_delay(heard: list[int]) -> None:
    stopping = Stopping()
    with stopping.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert heard == [signal.SIGTERM]
        assert stopping.has_begun


async def test_the_server_is_told_when_the_delay_is_over(heard: list[int]) -> None:
    stopping = Stopping()
    with stopping.on_signals(delay=0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert stopping.has_begun
        assert heard == []

        async def is_told() -> bool:
            return heard == [signal.SIGTERM]

        await eventually(is_told)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_who_insists_does_not_wait(heard: list[int], second: int) -> None:
    with Stopping().on_signals(delay=60):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)
        assert heard == [second]


async def test_a_person_at_a_terminal_does_not_wait(heard: list[int]) -> None:
    with Stopping().on_signals(delay=60):
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT]
