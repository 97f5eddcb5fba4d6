"""Shifts the wall clock of this process by CHAOS_CLOCK_SHIFT seconds, as if the clock of its machine were wrong.

Python finds it through PYTHONPATH and runs it before any module can import the clock. Monotonic time is not changed.
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
    """A `datetime` whose current time is shifted, and that is otherwise unchanged."""

    # Extension modules check that the size is that of the parent class.
    __slots__ = ()

    def __new__(cls, *parts: Any, **named: Any) -> Any:
        return _TrueDatetime(*parts, **named)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Return the shifted time."""
        return _TrueDatetime.fromtimestamp(_true_time() + _SHIFT, tz)

    @classmethod
    def utcnow(cls) -> Any:
        """Return the shifted time, without a time zone."""
        return cls.now(datetime.UTC).replace(tzinfo=None)


if _SHIFT:
    time.time = lambda: _true_time() + _SHIFT
    datetime.datetime = _ShiftedDatetime  # type: ignore[misc]
