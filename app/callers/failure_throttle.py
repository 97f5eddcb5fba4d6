"""Slows down the guessing of credentials, in a way that cannot be turned against callers with valid ones.

Only rejections are delayed, after the credential was looked up and found invalid. So nothing that an attacker does
makes a valid key wait: there is no count by address or by key that an attacker could use up for another caller.
"""

import asyncio
from dataclasses import dataclass

from app.base.clock import Clock


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """How rejections are delayed.

    `burst` rejections are sent without delay, and `per_second` after that. None is delayed by more than `max_delay`
    seconds. At most `max_delayed` are delayed at a time, because each keeps a connection open that others may need, for
    example at a gateway.
    """

    burst: int = 20
    per_second: float = 10.0
    max_delay: float = 2.0
    max_delayed: int = 200


class FailureThrottle:
    """Delays rejections, so that they are sent one by one."""

    def __init__(self, clock: Clock, limits: ThrottleLimits = ThrottleLimits()) -> None:
        self._clock = clock
        self._limits = limits
        self._allowance = float(limits.burst)
        self._updated_at = clock.monotonic()
        self._delayed = 0

    async def delay(self) -> None:
        """Return when this rejection may be sent."""
        seconds = self._seconds_to_wait()
        if seconds <= 0 or self._delayed >= self._limits.max_delayed:
            return
        self._delayed += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delayed -= 1

    def _seconds_to_wait(self) -> float:
        limits, now = self._limits, self._clock.monotonic()
        refilled = self._allowance + (now - self._updated_at) * limits.per_second
        self._updated_at = now
        self._allowance = max(min(refilled, limits.burst) - 1, -limits.max_delay * limits.per_second)
        return -self._allowance / limits.per_second
