"""The only module that reads the system clock.

Leases and token expiry use the database's clock, so that replicas whose clocks differ still agree.
This clock serves everything else: the claims of an id_token, and durations within this process.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time, and a monotonic clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary time; only differences have a meaning."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary time; only differences have a meaning."""
        return time.monotonic()
