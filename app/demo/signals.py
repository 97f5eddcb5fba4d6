"""Signals to stop the demo. They never interrupt the start of a process or the cleanup."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks the demo to stop. It is no Exception, so that no library handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class StopSignals:
    """Raises Stopped for the first signal, and ignores later ones."""

    def __init__(self) -> None:
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._is_postponed = False
        self._received: int | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals during the block. The previous handlers are restored unless a signal ended the block."""
        # `nohup` ignores SIGHUP, and that must stay so.
        is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = _SIGNALS[:2] if is_detached else _SIGNALS
        self._previous_handlers = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            if self._received is None:
                for number, handler in self._previous_handlers.items():
                    signal.signal(number, handler)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Raise Stopped only at the end of the block, so that the block can keep what it starts."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
            self.raise_if_received()

    def raise_if_received(self) -> None:
        """Raise Stopped if a signal was received, even in place of an error, which the signal may have caused."""
        if self._received is not None:
            raise Stopped(self._received)

    def ignore(self) -> None:
        """Ignore all signals from now on, so that neither the cleanup nor its programs are interrupted."""
        for number in self._previous_handlers:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        self._received = number
        if not self._is_postponed:
            raise Stopped(number)
