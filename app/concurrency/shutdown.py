"""The signal that the process is to stop, known early so that long-running requests can end in time."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType

# At a stop, the server first gives requests this long to end, and the broker then its refreshes: together less than
# the 30 seconds after which orchestrators kill a process.
REQUEST_DRAIN_SECONDS = 15.0
TASK_DRAIN_SECONDS = 12.0


async def stop_when_supervisor_ends(supervisor: BaseProcess) -> None:
    """Send SIGTERM to this process once its supervisor is gone.

    A worker whose supervisor was killed would otherwise run for ever and keep the port.
    """
    while supervisor.is_alive():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(1)
    signal.raise_signal(signal.SIGTERM)


class ShutdownSignal:
    """Set by the first signal to stop. The server then shuts down as it would without this."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """True once the process has been asked to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask the process to stop."""
        self._event.set()

    @contextmanager
    def set_on_signals(self, delay: float = 0) -> Iterator[None]:
        """Handle SIGTERM and SIGINT within the block, and pass them on to the previous handlers.

        The first SIGTERM is passed on after `delay` seconds. Until then requests are served as before, so that a load
        balancer has time to notice that this process is no longer ready.
        Outside the main thread, as in tests, signals cannot be handled and nothing changes.
        """
        loop = asyncio.get_running_loop()
        previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        is_first = True

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal is_first
            loop.call_soon_threadsafe(self.set)
            handler = previous[signal.Signals(number)]
            if not callable(handler):
                return
            if number == signal.SIGTERM and is_first and delay:
                loop.call_soon_threadsafe(loop.call_later, delay, handler, number, frame)
            else:
                handler(number, frame)
            is_first = False

        try:
            for number in previous:
                signal.signal(number, handle)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
