"""A signal to stop: readiness ends at once, and the server stops after a delay, or at once after a second signal."""

import asyncio
import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from app.concurrency.shutdown import ShutdownSignal
from tests.support.eventually import eventually


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that reach the server's handlers, which were installed before."""
    numbers: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_without_a_delay_the_server_gets_the_signal_at_once(received: list[int]) -> None:
    shutdown = ShutdownSignal()
    with shutdown.set_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert received == [signal.SIGTERM]
        assert shutdown.is_set


async def test_the_server_gets_the_signal_after_the_delay(received: list[int]) -> None:
    shutdown = ShutdownSignal()
    with shutdown.set_on_signals(delay=0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert shutdown.is_set
        assert received == []

        async def is_received() -> bool:
            return received == [signal.SIGTERM]

        await eventually(is_received)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_reaches_the_server_at_once(received: list[int], second: int) -> None:
    with ShutdownSignal().set_on_signals(delay=60):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)
        assert received == [second]


async def test_an_interrupt_from_a_terminal_reaches_the_server_at_once(received: list[int]) -> None:
    with ShutdownSignal().set_on_signals(delay=60):
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT]
