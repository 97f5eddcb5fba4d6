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
        self._reading: dict[Key, dict[str, asyncio.Task[Value]]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def get(self, key: Key) -> Value | None:
        """Return what is remembered and not too old."""
        known = self._values.get(key)
        return known[0] if known is not None and known[1] > self._clock.monotonic() else None

    async def read(self, key: Key, source: Callable[[], Awaitable[Value]], *, reader: str = "") -> Value:
        """Return the value from `source`, and remember it unless a notice came in between.

        Where it depends on who reads whether there is a value at all, `reader` says who: only its reads are shared.
        """
        readers = self._reading.setdefault(key, {})
        task = readers.get(reader)
        if task is None:
            task = readers[reader] = asyncio.ensure_future(self._read(key, source, reader))
        # One reader that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _read(self, key: Key, source: Callable[[], Awaitable[Value]], reader: str) -> Value:
        this = asyncio.current_task()
        try:
            value = await source()
            if self._reading.get(key, {}).get(reader) is this:
                self._remember(key, value)
            return value
        finally:
            readers = self._reading.get(key, {})
            if readers.get(reader) is this:
                del readers[reader]
                if not readers:
                    del self._reading[key]

    def _remember(self, key: Key, value: Value) -> None:
        self._values.pop(key, None)
        while len(self._values) >= self._size:
            del self._values[next(iter(self._values))]
        self._values[key] = (value, self._clock.monotonic() + self._lifetime)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._lifetime, self._forget_old)

    def _forget_old(self) -> None:
        """Drop what can no longer be used: secrets are among it."""
        now = self._clock.monotonic()
        while self._values and self._values[oldest := next(iter(self._values))][1] <= now:
            del self._values[oldest]
        self._sweep = None
        if self._values:
            self._sweep = asyncio.get_running_loop().call_later(self._lifetime, self._forget_old)

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
