"""Limits the memory that long request bodies occupy, so that incomplete ones cannot fill it."""

from collections import Counter
from dataclasses import dataclass

from app.errors import BrokerUnavailable, RateLimited


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How many bytes of long bodies are kept in memory, and how long the body of a query may take to arrive."""

    total: int = 201_326_592
    per_tenant: int = 67_108_864
    timeout_seconds: float = 30.0


class BodyBudget:
    """Counts the bytes of long bodies, per tenant and in total."""

    def __init__(self, limits: BodyLimits = BodyLimits()) -> None:
        self.timeout_seconds = limits.timeout_seconds
        self._limits = limits
        self._by_tenant: Counter[str] = Counter()
        self._total = 0

    def reserve(self, tenant: str, size: int) -> None:
        """Add `size` bytes, to be released later. Raises RateLimited or BrokerUnavailable, and then adds nothing."""
        if self._by_tenant[tenant] + size > self._limits.per_tenant:
            raise RateLimited(
                "this tenant is sending too many long bodies; wait until some requests have ended", retry_after=1
            )
        if self._total + size > self._limits.total:
            raise BrokerUnavailable("too many long bodies are being received", code="too_many_queries", retry_after=1)
        self._by_tenant[tenant] += size
        self._total += size

    def release(self, tenant: str, size: int) -> None:
        """Subtract `size` bytes."""
        self._total -= size
        self._by_tenant[tenant] -= size
        if not self._by_tenant[tenant]:
            del self._by_tenant[tenant]
