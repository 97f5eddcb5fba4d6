"""How much one caller may ask of one replica, so that a caller gone wild leaves room for the others."""

from app.base.clock import Clock
from app.errors import RateLimited

# Callers that have not been heard of for so long have full buckets anyway. Seconds.
_FORGET_AFTER = 300.0
_MOST_CALLERS = 10_000


class _Use:
    __slots__ = ("allowance", "at", "under_way")

    def __init__(self, allowance: float, at: float) -> None:
        self.allowance = allowance
        self.at = at
        self.under_way = 0


class CallerLimits:
    """Requests at once, and requests a second with as many in reserve. 0 sets no limit."""

    def __init__(self, clock: Clock, *, rate: float, concurrency: int) -> None:
        self._clock = clock
        self._rate = rate
        self._concurrency = concurrency
        # A caller's id may be the subject of a service token, which two tenants can have alike.
        self._uses: dict[tuple[str, str], _Use] = {}

    def enter(self, tenant: str, caller_id: str) -> None:
        """Let a request in, to be followed by `leave`. Raises RateLimited, with the seconds to wait."""
        now = self._clock.monotonic()
        caller = (tenant, caller_id)
        use = self._uses.get(caller)
        if use is None:
            use = self._begin(caller, now)
        if self._concurrency and use.under_way >= self._concurrency:
            raise RateLimited(
                f"{self._concurrency} requests of this caller are under way here; let some end", retry_after=1
            )
        if self._rate:
            use.allowance = min(self._rate, use.allowance + (now - use.at) * self._rate)
            use.at = now
            if use.allowance < 1:
                wait = (1 - use.allowance) / self._rate
                raise RateLimited(f"this caller may make {self._rate:g} requests a second here", retry_after=wait)
            use.allowance -= 1
        use.under_way += 1

    def leave(self, tenant: str, caller_id: str) -> None:
        """Note that a request has ended."""
        use = self._uses.get((tenant, caller_id))
        if use is not None and use.under_way > 0:
            use.under_way -= 1

    def _begin(self, caller: tuple[str, str], now: float) -> _Use:
        if len(self._uses) >= _MOST_CALLERS:
            idle = [name for name, use in self._uses.items() if not use.under_way and now - use.at > _FORGET_AFTER]
            for name in idle:
                del self._uses[name]
        use = self._uses[caller] = _Use(self._rate, now)
        return use
