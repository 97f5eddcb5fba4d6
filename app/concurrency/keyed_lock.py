"""A semaphore per key, created when a key is first used and forgotten when it is no longer used."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class _Entry:
    __slots__ = ("semaphore", "users")

    def __init__(self, size: int) -> None:
        self.semaphore = asyncio.Semaphore(size)
        self.users = 0
        """How many tasks have acquired the semaphore or wait for it."""


class KeyedSemaphore(Generic[Key]):
    """Lets at most `size` tasks at a time work on each key; with a size of 1 it is a lock per key.

    Waiting tasks acquire a key in the order in which they asked for it.
    """

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._entries: dict[Key, _Entry] = {}

    async def acquire(self, key: Key, *, timeout_seconds: float | None = None) -> None:
        """Wait for `key`; each acquired key must be released. Raises TimeoutError after `timeout_seconds`."""
        entry = self._entries.setdefault(key, _Entry(self._size))
        entry.users += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await entry.semaphore.acquire()
        except BaseException:
            self._leave(key, entry)
            raise

    def release(self, key: Key) -> None:
        """Let the next waiting task have `key`. Raises KeyError if no task has acquired it."""
        entry = self._entries[key]
        entry.semaphore.release()
        self._leave(key, entry)

    def __len__(self) -> int:
        """Return how many keys are in use."""
        return len(self._entries)

    def _leave(self, key: Key, entry: _Entry) -> None:
        entry.users -= 1
        if not entry.users:
            del self._entries[key]
