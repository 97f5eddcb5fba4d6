"""The connections of a pool: how many there may be, which are idle, and who is next."""

import asyncio
from collections.abc import Awaitable, Callable

from app.http_client.connection import Connection
from app.http_client.errors import NotSent, PoolClosed
from app.http_client.queue import Queue

# How long closing waits for connections to say good-bye.
_FAREWELL = 1.0


class Supply:
    """Opens connections, lends them out and takes them back. Each has a place, from before it is opened on."""

    def __init__(
        self,
        dial: Callable[["Supply"], Awaitable[Connection]],
        loop: asyncio.AbstractEventLoop,
        *,
        places: int,
        queue_length: int,
        queue_patience: int,
        longest_life: float,
    ) -> None:
        self._dial = dial
        self._now = loop.time
        self._places = places
        self._taken = 0
        self._longest_life = longest_life
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        # What is passed on is a connection, or None for the right to open one.
        self._queue: Queue[Connection | None] = Queue(loop, length=queue_length, patience=queue_patience)
        self._is_closed = False
        self.tick = 0
        """A coarse clock, for the connections: how many sweeps there have been."""

    @property
    def busy(self) -> int:
        """How many connections are being opened or have a request under way."""
        return self._taken - len(self._idle)

    @property
    def idle(self) -> int:
        """How many connections wait to be used."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._queue)

    def idle_one(self) -> Connection | None:
        """Take the connection that was used last: the others grow old, and the supply shrinks with its load."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and self._now() - connection.idle_since < connection.idle_limit:
                return connection
            connection.close()
        return None

    async def another_one(self) -> Connection:
        """Open a connection, or wait for one. It is usable when this returns, and is to be used without a pause."""
        while True:
            if self._is_closed:
                raise PoolClosed("the pool was closed")
            if self._taken < self._places:
                self._taken += 1
                return await self._open()
            connection = await self._turn()
            if connection is None:
                return await self._open()
            if connection.is_usable:
                return connection
            # It was lost on its way here, and its place may be someone else's by now.

    def release(self, connection: Connection) -> None:
        """Let the next request have it, or keep it."""
        now = self._now()
        if self._is_closed or now - connection.opened_at >= self._longest_life:
            connection.close()
        elif not self._queue.serve(connection):
            connection.idle_since = now
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Strike it off, and let the next request have its place."""
        if connection in self._connections:
            self._connections.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._give_way()

    def sweep(self) -> bool:
        """End what has had its time. Returns whether there is anything that time matters to."""
        self.tick += 1
        self._queue.check_time(self.tick)
        for connection in list(self._connections):
            connection.check_time(self.tick)
        now = self._now()
        for connection in list(self._idle):
            is_old = now - connection.opened_at >= self._longest_life
            if is_old or now - connection.idle_since >= connection.idle_limit:
                connection.close()
        return bool(self._taken)

    async def close(self) -> None:
        """Close every connection, those in use too, and turn away who waits."""
        self._is_closed = True
        self._queue.turn_away(PoolClosed("the pool was closed"))
        connections = list(self._connections)
        for connection in connections:
            if connection.is_usable:
                connection.close()
            else:
                connection.abort()
        if connections:
            await asyncio.wait([connection.lost for connection in connections], timeout=_FAREWELL)
        for connection in connections:
            connection.abort()

    async def _turn(self) -> Connection | None:
        turn = self._queue.join(self.tick)
        try:
            return await turn
        except asyncio.CancelledError:
            self._queue.leave(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Its turn had come, so it goes to the next one. A place that was lost meanwhile is given up already.
                connection = turn.result()
                if connection is None:
                    self._give_way()
                elif connection.is_usable:
                    self.release(connection)
            raise

    async def _open(self) -> Connection:
        """Open a connection, in a place that is taken for it."""
        try:
            connection = await self._dial(self)
            if self._is_closed or not connection.is_usable:
                connection.abort()
                raise PoolClosed("the pool was closed") if self._is_closed else NotSent("the origin hung up at once")
        except BaseException:
            self._give_way()
            raise
        self._connections.add(connection)
        return connection

    def _give_way(self) -> None:
        """Give a place up, to the next request if there is one."""
        if not self._queue.serve(None):
            self._taken -= 1
