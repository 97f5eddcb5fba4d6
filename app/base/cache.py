"""A bounded cache of values loaded from the database. Entries expire, and can be invalidated earlier."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from app.base.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Load(Generic[Key, Value]):
    """A load that has not finished."""

    __slots__ = ("invalidations", "key", "task")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.task: asyncio.Future[Value]
        self.invalidations: list[Callable[[Value], bool]] = []
        """Predicates of the invalidations since the load began. A value that matches one is not cached."""


class ExpiringCache(Generic[Key, Value]):
    """Values by key. Concurrent loads of one key share one call of the loader.

    A value that is invalidated while it is being loaded may be outdated, so it is returned but not cached. For the same
    reason, a load that starts after an invalidation never shares a load that started before it.
    """

    def __init__(self, *, lifetime: float, size: int, clock: Clock) -> None:
        """`lifetime`: in seconds. `size`: the largest number of entries."""
        self._lifetime = lifetime
        self._size = size
        self._clock = clock
        # All entries have the same lifetime, so the first one is always the oldest. A general-purpose cache would spend
        # more on finding the oldest entry than the rest of a query's lookups costs.
        self._entries: dict[Key, tuple[Value, float]] = {}
        self._loads_by_key: dict[Key, dict[str, _Load[Key, Value]]] = {}
        self._all_loads: set[_Load[Key, Value]] = set()
        self._cleanup: asyncio.TimerHandle | None = None

    def get(self, key: Key) -> Value | None:
        """Return the cached value, or None if there is none or it has expired."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None and entry[1] > self._clock.monotonic() else None

    async def load(self, key: Key, loader: Callable[[], Awaitable[Value]], *, scope: str = "") -> Value:
        """Call `loader` for the value and cache it, unless it is invalidated meanwhile.

        Only loads with the same `scope` share a call: pass one if the outcome depends on more than the key.
        """
        loads = self._loads_by_key.setdefault(key, {})
        load = loads.get(scope)
        if load is None:
            load = loads[scope] = _Load(key)
            self._all_loads.add(load)
            load.task = asyncio.ensure_future(self._run(load, loader, scope))
        # A waiting task that is cancelled must not cancel the load for the others.
        return await asyncio.shield(load.task)

    async def _run(self, load: _Load[Key, Value], loader: Callable[[], Awaitable[Value]], scope: str) -> Value:
        try:
            value = await loader()
            is_latest = self._loads_by_key.get(load.key, {}).get(scope) is load
            if is_latest or (load.key not in self._entries and not any(match(value) for match in load.invalidations)):
                self._store(load.key, value)
            return value
        finally:
            self._all_loads.discard(load)
            loads = self._loads_by_key.get(load.key, {})
            if loads.get(scope) is load:
                del loads[scope]
                if not loads:
                    del self._loads_by_key[load.key]

    def _store(self, key: Key, value: Value) -> None:
        self._entries.pop(key, None)
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (value, self._clock.monotonic() + self._lifetime)
        if self._cleanup is None:
            self._cleanup = asyncio.get_running_loop().call_later(self._lifetime, self._remove_expired)

    def _remove_expired(self) -> None:
        """Remove entries that can no longer be used, because some hold secrets."""
        now = self._clock.monotonic()
        while self._entries and self._entries[oldest := next(iter(self._entries))][1] <= now:
            del self._entries[oldest]
        self._cleanup = None
        if self._entries:
            self._cleanup = asyncio.get_running_loop().call_later(self._lifetime, self._remove_expired)

    def invalidate(self, key: Key) -> None:
        """Remove the value of `key`, whether it is cached or being loaded."""
        self._entries.pop(key, None)
        self._loads_by_key.pop(key, None)
        self._invalidate_loads(_always, [load for load in self._all_loads if load.key == key])

    def invalidate_where(self, matches: Callable[[Value], bool]) -> None:
        """Remove the values that match, whether they are cached or being loaded."""
        for key in [key for key, (value, _) in self._entries.items() if matches(value)]:
            self.invalidate(key)
        self._loads_by_key.clear()
        self._invalidate_loads(matches, self._all_loads)

    def invalidate_all(self) -> None:
        """Remove every value, whether it is cached or being loaded."""
        self._entries.clear()
        self._loads_by_key.clear()
        self._invalidate_loads(_always, self._all_loads)

    def _invalidate_loads(self, matches: Callable[[Value], bool], loads: Iterable[_Load[Key, Value]]) -> None:
        for load in loads:
            load.invalidations.append(matches)

    def __len__(self) -> int:
        return len(self._entries)


def _always(_value: object) -> bool:
    return True
