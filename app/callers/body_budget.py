"""How much of long bodies is kept in memory at once, so that nobody fills it with what is only half sent."""

from collections import Counter

from app.errors import BrokerUnavailable, RateLimited

MOST = 201_326_592
MOST_OF_TENANT = 67_108_864


class BodyBudget:
    """Counts bytes, of all and by tenant."""

    def __init__(self, most: int = MOST, most_of_tenant: int = MOST_OF_TENANT) -> None:
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._kept: Counter[str] = Counter()
        self._in_all = 0

    def take(self, tenant: str, size: int) -> None:
        """Count `size` bytes more. Raises RateLimited or BrokerUnavailable, and counts nothing then."""
        if self._kept[tenant] + size > self._most_of_tenant:
            raise RateLimited("long bodies of this tenant are under way; let some end", retry_after=1)
        if self._in_all + size > self._most:
            raise BrokerUnavailable("too many long bodies are under way", code="too_many_queries", retry_after=1)
        self._kept[tenant] += size
        self._in_all += size

    def give_back(self, tenant: str, size: int) -> None:
        """Count `size` bytes less."""
        self._in_all -= size
        self._kept[tenant] -= size
        if not self._kept[tenant]:
            del self._kept[tenant]
