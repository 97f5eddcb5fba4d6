"""A brake on guessing keys that cannot be turned against those who have one.

Only refusals are held, after the key was looked up and found wrong. So nothing that a guesser does, from wherever,
makes a good key wait: there is no count by address or by key that an attacker could fill for somebody else.
"""

import asyncio

from app.base.clock import Clock

# GuessBrake that leave at once, and then so many a second.
AT_ONCE = 20
A_SECOND = 10
LONGEST = 2.0
# More are not held, since the connections that they keep open may be wanted by others, at a gateway say.
MOST_HELD = 200


class FailureThrottle:
    """Holds refusals back, so that they leave one by one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._allowance = float(AT_ONCE)
        self._at = clock.monotonic()
        self._held = 0

    async def hold(self) -> None:
        """Wait until this refusal may leave."""
        seconds = self._seconds_to_wait()
        if seconds <= 0 or self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1

    def _seconds_to_wait(self) -> float:
        now = self._clock.monotonic()
        filled = self._allowance + (now - self._at) * A_SECOND
        self._at = now
        self._allowance = max(min(filled, AT_ONCE) - 1, -LONGEST * A_SECOND)
        return -self._allowance / A_SECOND
