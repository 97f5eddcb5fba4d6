"""A bounded memory of what the database said, which forgets on notice and in any case after its lifetime."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from app.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Values by key. Concurrent readers of one key share one read.

    A notice that arrives while a value is being read makes that value not be remembered, since it may be the old one.
    """

    def __init__(self, *, lifetime: float, size: int, clock: Clock) -> None:
        self._lifetime = lifetime
        self._size = size
        self._clock = clock
        # Of one lifetime all, so the first is always the oldest: what a general cache does to know it costs more than
        # the rest of a query's look-ups.
        self._values: dict[Key, tuple[Value, float]] = {}
        self._reading: dict[Key, asyncio.Task[Value]] = {}

    def get(self, key: Key) -> Value | None:
        """Return what is remembered and not too old."""
        known = self._values.get(key)
        return known[0] if known is not None and known[1] > self._clock.monotonic() else None

    async def read(self, key: Key, source: Callable[[], Awaitable[Value]]) -> Value:
        """Return the value from `source`, and remember it unless a notice came in between."""
        task = self._reading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._read(key, source))
            self._reading[key] = task
        # One reader that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _read(self, key: Key, source: Callable[[], Awaitable[Value]]) -> Value:
        this = asyncio.current_task()
        try:
            value = await source()
            if self._reading.get(key) is this:
                self._remember(key, value)
            return value
        finally:
            if self._reading.get(key) is this:
                del self._reading[key]

    def _remember(self, key: Key, value: Value) -> None:
        self._values.pop(key, None)
        while len(self._values) >= self._size:
            del self._values[next(iter(self._values))]
        self._values[key] = (value, self._clock.monotonic() + self._lifetime)

    def forget(self, key: Key) -> None:
        """Forget one value, and whatever is being read of it."""
        self._values.pop(key, None)
        self._reading.pop(key, None)

    def forget_where(self, matches: Callable[[Value], bool]) -> None:
        """Forget the values that match, and everything that is being read."""
        for key in [key for key, (value, _) in self._values.items() if matches(value)]:
            self.forget(key)
        self._reading.clear()

    def forget_all(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._reading.clear()

    def __len__(self) -> int:
        return len(self._values)
