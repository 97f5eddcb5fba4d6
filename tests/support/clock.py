"""A clock that tests can put forward."""

from datetime import datetime, timedelta

from app.base.clock import SystemClock


class SteerableClock:
    """The machine's clock, as far ahead of it as a test wants. It serves as an `app.base.clock.Clock`."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._ahead += seconds

    def now(self) -> datetime:
        return self._system.now() + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return self._system.monotonic() + self._ahead
