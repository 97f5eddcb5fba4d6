"""Knowing early that the process is to stop, so that nobody is kept waiting for its end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType


async def stop_with(supervisor: BaseProcess) -> None:
    """Tell this process to stop when the one that began it is no more.

    A worker whose supervisor was killed would go on for ever, and keep the port.
    """
    while supervisor.is_alive():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(1)
    signal.raise_signal(signal.SIGTERM)


class Stopping:
    """Set by the first signal to stop; the server goes on with its own part of it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """True once the process was told to stop."""
        return self._event.is_set()

    def begin(self) -> None:
        """Tell everybody."""
        self._event.set()

    @contextmanager
    def on_signals(self, delay: float = 0) -> Iterator[None]:
        """Hear of SIGTERM and SIGINT, and pass them on to whoever handled them before.

        The first SIGTERM is passed on after `delay` seconds: until then requests are served as before, so that a
        gateway has time to notice that this process is no longer ready.
        Only a main thread may do so; elsewhere, as in tests, nothing is changed.
        """
        loop = asyncio.get_running_loop()
        previous = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
        is_first = True

        def heard(number: int, frame: FrameType | None) -> None:
            nonlocal is_first
            loop.call_soon_threadsafe(self.begin)
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
                signal.signal(number, heard)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
