"""Limits the requests of each caller to this replica, so that a runaway caller leaves room for the others."""

from app.base.clock import Clock
from app.errors import RateLimited

# After this many seconds without a request a caller's allowance is full again, so the caller need not be remembered.
_FORGET_AFTER = 300.0
_MAX_CALLERS = 10_000


class _Use:
    __slots__ = ("allowance", "running", "updated_at")

    def __init__(self, allowance: float, updated_at: float) -> None:
        self.allowance = allowance
        self.updated_at = updated_at
        self.running = 0


class CallerLimits:
    """Limits requests that run at the same time, and requests per second by a token bucket. 0 means no limit."""

    def __init__(self, clock: Clock, *, rate: float, concurrency: int, max_callers: int = _MAX_CALLERS) -> None:
        """`rate`: requests per second, and the size of the bucket. `max_callers`: more are forgotten while idle."""
        self._clock = clock
        self._rate = rate
        self._concurrency = concurrency
        self._max_callers = max_callers
        # By tenant too: a caller's id may be the subject of a service token, which two tenants can share.
        self._uses: dict[tuple[str, str], _Use] = {}

    def enter(self, tenant: str, caller_id: str) -> None:
        """Admit a request; `leave` must follow. Raises RateLimited with the seconds to wait."""
        now = self._clock.monotonic()
        caller = (tenant, caller_id)
        use = self._uses.get(caller)
        if use is None:
            use = self._add(caller, now)
        if self._concurrency and use.running >= self._concurrency:
            raise RateLimited(
                f"this caller has {self._concurrency} requests running here; wait until some have ended", retry_after=1
            )
        if self._rate:
            use.allowance = min(self._rate, use.allowance + (now - use.updated_at) * self._rate)
            use.updated_at = now
            if use.allowance < 1:
                wait = (1 - use.allowance) / self._rate
                raise RateLimited(f"this caller may make {self._rate:g} requests per second here", retry_after=wait)
            use.allowance -= 1
        use.running += 1

    def leave(self, tenant: str, caller_id: str) -> None:
        """Note that a request has ended."""
        use = self._uses.get((tenant, caller_id))
        if use is not None and use.running > 0:
            use.running -= 1

    def _add(self, caller: tuple[str, str], now: float) -> _Use:
        if len(self._uses) >= self._max_callers:
            for idle in [key for key, use in self._uses.items() if _is_idle(use, now)]:
                del self._uses[idle]
        use = self._uses[caller] = _Use(self._rate, now)
        return use


def _is_idle(use: _Use, now: float) -> bool:
    return not use.running and now - use.updated_at > _FORGET_AFTER
