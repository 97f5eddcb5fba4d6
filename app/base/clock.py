"""The one place that asks what time it is.

Leases and token expiry are decided on the database's clock, so replicas whose clocks differ still agree.
This clock serves what has no database at hand: id_token claims and time spent within this process.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time and a clock that never goes back."""

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; only differences mean anything."""
        return time.monotonic()
