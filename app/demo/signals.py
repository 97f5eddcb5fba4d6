"""Ctrl-C and its like: they end the work at once, never an acquisition in its middle, and never the cleaning up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants the demo to stop. No Exception, so that no library takes it for a fault."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class StopSignals:
    """Turns the first signal into Stopped, and has the later ones ignored."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_postponed = False
        self._arrived: int | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals during the block, then leave them as they were; ignored, where one has ended the block."""
        # What `nohup` had ignored stays so.
        is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        heeded = _SIGNALS[:2] if is_detached else _SIGNALS
        self._before = {number: signal.signal(number, self._stop) for number in heeded}
        try:
            yield
        finally:
            if self._arrived is None:
                for number, handler in self._before.items():
                    signal.signal(number, handler)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Let a block that acquires something end before a signal is heeded."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
            self.heed()

    def heed(self) -> None:
        """Raise Stopped if a signal has arrived; also instead of an error, of which it may be the cause."""
        if self._arrived is not None:
            raise Stopped(self._arrived)

    def ignore(self) -> None:
        """Heed no signal any more: what cleans up, and the programs that it starts, is to be left in peace."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        self._arrived = number
        if not self._is_postponed:
            raise Stopped(number)
