"""A bounded memory of what the database said, which forgets on notice and in any case after its lifetime."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from app.base.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Read(Generic[Key, Value]):
    """One that is under way."""

    __slots__ = ("doubts", "key", "task")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.task: asyncio.Future[Value]
        self.doubts: list[Callable[[Value], bool]] = []
        """What notices meanwhile say of the values that are no longer to be remembered."""


class Memory(Generic[Key, Value]):
    """Values by key. Concurrent readers of one key share one read.

    A notice that arrives while a value is being read makes it not be remembered, where the notice is of it: it may be
    the old one. For the same reason nobody who comes after any notice shares a read that began before.
    """

    def __init__(self, *, lifetime: float, size: int, clock: Clock) -> None:
        self._lifetime = lifetime
        self._size = size
        self._clock = clock
        # Of one lifetime all, so the first is always the oldest: what a general cache does to know it costs more than
        # the rest of a query's look-ups.
        self._values: dict[Key, tuple[Value, float]] = {}
        self._reading: dict[Key, dict[str, _Read[Key, Value]]] = {}
        self._under_way: set[_Read[Key, Value]] = set()
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
        under_way = readers.get(reader)
        if under_way is None:
            under_way = readers[reader] = _Read(key)
            self._under_way.add(under_way)
            under_way.task = asyncio.ensure_future(self._read(under_way, source, reader))
        # One reader that goes away must not take the answer from the others.
        return await asyncio.shield(under_way.task)

    async def _read(self, this: _Read[Key, Value], source: Callable[[], Awaitable[Value]], reader: str) -> Value:
        try:
            value = await source()
            is_latest = self._reading.get(this.key, {}).get(reader) is this
            if is_latest or (this.key not in self._values and not any(doubts(value) for doubts in this.doubts)):
                self._remember(this.key, value)
            return value
        finally:
            self._under_way.discard(this)
            readers = self._reading.get(this.key, {})
            if readers.get(reader) is this:
                del readers[reader]
                if not readers:
                    del self._reading[this.key]

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
        self._doubt(_all, [read for read in self._under_way if read.key == key])

    def forget_where(self, matches: Callable[[Value], bool]) -> None:
        """Forget the values that match, those among them that are being read."""
        for key in [key for key, (value, _) in self._values.items() if matches(value)]:
            self.forget(key)
        self._reading.clear()
        self._doubt(matches, self._under_way)

    def forget_all(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._reading.clear()
        self._doubt(_all, self._under_way)

    def _doubt(self, matches: Callable[[Value], bool], reads: Iterable[_Read[Key, Value]]) -> None:
        for read in reads:
            read.doubts.append(matches)

    def __len__(self) -> int:
        return len(self._values)


def _all(_value: object) -> bool:
    return True
