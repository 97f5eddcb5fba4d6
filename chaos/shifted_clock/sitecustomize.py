"""Shifts this process's wall clock by CHAOS_CLOCK_SHIFT seconds, as a machine whose clock is wrong would have it.

Found by way of PYTHONPATH, and run before anything that keeps a reference to the clock. Monotonic time is left alone.
"""

import datetime  # noqa: ICN001 - the class in it is replaced
import os
import time
from typing import Any

_SHIFT = float(os.environ.get("CHAOS_CLOCK_SHIFT", "0"))
_true_time = time.time
_TrueDatetime = datetime.datetime


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _TrueDatetime)


class _ShiftedDatetime(_TrueDatetime, metaclass=_AnyDatetime):
    """A `datetime` that is wrong about now, and right about all else."""

    # Of the size of its parent, which extension modules check.
    __slots__ = ()

    def __new__(cls, *parts: Any, **named: Any) -> Any:
        return _TrueDatetime(*parts, **named)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Return the shifted moment."""
        return _TrueDatetime.fromtimestamp(_true_time() + _SHIFT, tz)

    @classmethod
    def utcnow(cls) -> Any:
        """Return the shifted moment, without a zone."""
        return cls.now(datetime.UTC).replace(tzinfo=None)


if _SHIFT:
    time.time = lambda: _true_time() + _SHIFT
    datetime.datetime = _ShiftedDatetime  # type: ignore[misc]
