"""Requests that wait for a connection, first come, first served."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from app.http_client.errors import Congested

T = TypeVar("T")


class Queue(Generic[T]):
    """A queue with a longest length, and a longest time, in ticks, that anybody waits."""

    __slots__ = ("_length", "_loop", "_patience", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, length: int, patience: int) -> None:
        self._loop = loop
        self._length = length
        self._patience = patience
        self._waiting: deque[tuple[int, asyncio.Future[T]]] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, tick: int) -> "asyncio.Future[T]":
        """Wait at the end of the queue. Raises Congested."""
        if len(self._waiting) >= self._length:
            raise Congested("too many requests are waiting for a connection")
        turn: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((tick + self._patience, turn))
        return turn

    def leave(self, turn: "asyncio.Future[T]") -> None:
        """Wait no longer."""
        self._waiting = deque(one for one in self._waiting if one[1] is not turn)

    def serve(self, what: T) -> bool:
        """Give it to whoever is first. Returns whether there was anybody."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(what)
                return True
        return False

    def check_time(self, tick: int) -> None:
        """Turn away those who have waited for too long; they stand in front."""
        while self._waiting and self._waiting[0][0] <= tick:
            self._fail_first(Congested("no connection became free in time"))

    def turn_away(self, error: Exception) -> None:
        """Turn everybody away."""
        while self._waiting:
            self._fail_first(error)

    def _fail_first(self, error: Exception) -> None:
        _, turn = self._waiting.popleft()
        if not turn.done():
            turn.set_exception(error)
