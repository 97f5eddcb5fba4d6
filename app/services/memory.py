"""A bounded memory of what the database said, which forgets on notice and in any case after its lifetime."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from app.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Values by key. Concurrent readers of one key share one read.

    A notice that arrives while a value is being read makes that value not be remembered, since it may be the old one.
    """

    def __init__(self, *, lifetime: float, size: int, clock: Clock) -> None:
        self._values: TTLCache[Key, Value] = TTLCache(size, lifetime, timer=clock.monotonic)
        self._reading: dict[Key, asyncio.Task[Value]] = {}

    def get(self, key: Key) -> Value | None:
        """Return what is remembered."""
        return self._values.get(key)

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
                self._values[key] = value
            return value
        finally:
            if self._reading.get(key) is this:
                del self._reading[key]

    def forget(self, key: Key) -> None:
        """Forget one value, and whatever is being read of it."""
        self._values.pop(key, None)
        self._reading.pop(key, None)

    def forget_where(self, matches: Callable[[Value], bool]) -> None:
        """Forget the values that match, and everything that is being read."""
        for key in [key for key, value in self._values.items() if matches(value)]:
            self.forget(key)
        self._reading.clear()

    def forget_all(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._reading.clear()

    def __len__(self) -> int:
        return len(self._values)
