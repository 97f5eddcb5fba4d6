"""A clock that tests can advance."""

from datetime import datetime, timedelta

from app.base.clock import SystemClock


class AdjustableClock:
    """An `app.base.clock.Clock`: the system clock plus the time by which a test has advanced it."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._offset = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._offset += seconds

    def now(self) -> datetime:
        return self._system.now() + timedelta(seconds=self._offset)

    def monotonic(self) -> float:
        return self._system.monotonic() + self._offset
