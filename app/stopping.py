"""Knowing early that the process is to stop, so that nobody is kept waiting for its end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
    def on_signals(self) -> Iterator[None]:
        """Hear of SIGTERM and SIGINT, and pass them on to whoever handled them before.

        Only a main thread may do so; elsewhere, as in tests, nothing is changed.
        """
        loop = asyncio.get_running_loop()
        previous = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

        def heard(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            handler = previous[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

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
