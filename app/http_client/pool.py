"""A connection pool for one origin: many small POST requests with little CPU time for each.

A request takes one write and its response usually one read and one wake-up, with no task or timer per request. The pool
never sends a request twice: whether that is safe is for the caller to decide, by the type of the error.
"""

import asyncio
import math
import ssl
from collections import deque
from collections.abc import Iterable

from app.http_client.connect import connect
from app.http_client.connection import Connection, Timeouts
from app.http_client.errors import ConnectError, PoolClosed, PoolExhausted
from app.http_client.headers import HeaderLines
from app.http_client.response import Response
from app.http_client.route import route_to

_CLOSE_TIMEOUT_SECONDS = 1.0


class ConnectionPool:
    """Sends requests to one origin. It must be created and closed in the same running event loop.

    A connection occupies a slot, from before it is opened until it is discarded.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int,
        queue_length: int,
        queue_timeout: float,
        connect_timeout: float,
        first_byte_timeout: float,
        between_bytes_timeout: float,
        total_timeout: float,
        keep_alive_seconds: float,
        max_age_seconds: float = 300.0,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        sweep_seconds: float = 0.25,
    ) -> None:
        """All requests go to `url`. Raises ValueError if a URL cannot be used.

        Timeouts are in seconds. Those of requests and of the queue are measured by a coarse clock and may expire up to
        two `sweep_seconds` late. `first_byte_timeout` starts when the request is written, so it includes the time to
        send a large request. A caller that reads the body slowly is limited by `total_timeout` only. Connections are
        replaced after `max_age_seconds`, so that a change of the origin's address takes effect. The default
        `ssl_context` verifies certificates. `proxy` is the URL of an HTTP proxy.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._now = loop.time
        self._route = route_to(url, ssl_context=ssl_context, proxy=proxy)
        self._request_head = self._route.request_head
        self._connect_timeout = connect_timeout
        self._sweep_seconds = sweep_seconds
        self._timeouts = Timeouts(
            first_byte_ticks=self._ticks(first_byte_timeout),
            between_bytes_ticks=self._ticks(between_bytes_timeout),
            total_ticks=self._ticks(total_timeout),
            idle_seconds=keep_alive_seconds,
        )
        self._max_connections = max_connections
        self._max_age_seconds = max_age_seconds
        self._slots_taken = 0
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._queue = _Queue(loop, max_length=queue_length, timeout_ticks=self._ticks(queue_timeout))
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.tick = 0
        """A coarse clock for timeouts: the number of sweeps so far."""

    @property
    def busy(self) -> int:
        """The number of connections that are being opened or have a request in progress."""
        return self._slots_taken - len(self._idle)

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """The number of requests that are waiting for a connection."""
        return len(self._queue)

    async def post(self, lines: Iterable[HeaderLines], body: bytes) -> Response:
        """Send a POST request and return the response, which the caller must close. Raises HttpClientError.

        If the caller is cancelled, the connection of the request is closed.
        """
        request = b"".join((self._request_head, *lines, b"Content-Length: %d\r\n\r\n" % len(body), body))
        connection = self._take_idle() or await self._open_or_wait()
        response_future = connection.send(request)
        try:
            return await response_future
        except BaseException:
            connection.cancel(response_future)
            raise

    async def close(self) -> None:
        """Close all connections, with requests in progress too, and fail all waiting requests."""
        self._is_closed = True
        self._queue.fail_all(PoolClosed("the pool was closed"))
        connections = list(self._connections)
        for connection in connections:
            if connection.is_usable:
                connection.close()
            else:
                connection.abort()
        if connections:
            await asyncio.wait([connection.closed for connection in connections], timeout=_CLOSE_TIMEOUT_SECONDS)
        for connection in connections:
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def release(self, connection: Connection) -> None:
        """Pass the connection to the next waiting request, or keep it idle. Called by the connection."""
        now = self._now()
        if self._is_closed or now - connection.opened_at >= self._max_age_seconds:
            connection.close()
        elif not self._queue.wake_first(connection):
            connection.idle_since = now
            self._idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """Forget the connection and free its slot. Called by the connection, perhaps more than once."""
        if connection in self._connections:
            self._connections.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._free_slot()

    def _take_idle(self) -> Connection | None:
        """Take the most recently used idle connection. The others expire, so the pool shrinks when the load does."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and self._now() - connection.idle_since < connection.idle_timeout:
                return connection
            connection.close()
        return None

    async def _open_or_wait(self) -> Connection:
        """Open a connection, or wait for one. The caller must use it before its next await."""
        while True:
            if self._is_closed:
                raise PoolClosed("the pool was closed")
            if self._slots_taken < self._max_connections:
                self._slots_taken += 1
                return await self._open()
            connection = await self._wait_in_queue()
            if connection is None:
                return await self._open()
            if connection.is_usable:
                return connection
            # The connection was lost after it was passed on, and another request may have taken its slot.

    async def _open(self) -> Connection:
        """Open a connection in a slot that is already taken for it."""
        try:
            self._start_timer()
            connection = await connect(self._route, self._new_connection, timeout_seconds=self._connect_timeout)
            if self._is_closed or not connection.is_usable:
                connection.abort()
                if self._is_closed:
                    raise PoolClosed("the pool was closed")
                raise ConnectError("the origin closed the connection at once")
        except BaseException:
            self._free_slot()
            raise
        self._connections.add(connection)
        return connection

    def _new_connection(self) -> Connection:
        return Connection(self, self._loop, self._timeouts)

    async def _wait_in_queue(self) -> Connection | None:
        """Wait for a connection, or for a slot to open one in (None)."""
        waiter = self._queue.append(self.tick)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._queue.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Pass on what this request was given. The slot of a connection that was lost since is free already.
                connection = waiter.result()
                if connection is None:
                    self._free_slot()
                elif connection.is_usable:
                    self.release(connection)
            raise

    def _free_slot(self) -> None:
        """Pass the slot to the next waiting request, if there is one."""
        if not self._queue.wake_first(None):
            self._slots_taken -= 1

    def _ticks(self, seconds: float) -> int:
        """Convert a timeout to ticks, rounding up. One more is added because the first tick has already begun."""
        return math.ceil(seconds / self._sweep_seconds) + 1

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        """Check all timeouts. One timer serves all connections, and it stops when there are none."""
        self._timer = None
        self.tick += 1
        self._queue.check_timeouts(self.tick)
        for connection in list(self._connections):
            connection.check_timeouts(self.tick)
        now = self._now()
        for connection in list(self._idle):
            is_old = now - connection.opened_at >= self._max_age_seconds
            if is_old or now - connection.idle_since >= connection.idle_timeout:
                connection.close()
        if self._slots_taken:
            self._start_timer()


class _Queue:
    """Requests that wait for a connection, first in, first out. What they get is a connection, or None for a slot."""

    __slots__ = ("_loop", "_max_length", "_timeout_ticks", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_length: int, timeout_ticks: int) -> None:
        self._loop = loop
        self._max_length = max_length
        self._timeout_ticks = timeout_ticks
        self._waiters: deque[tuple[int, asyncio.Future[Connection | None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def append(self, tick: int) -> "asyncio.Future[Connection | None]":
        """Add a request and return its future. Raises PoolExhausted if the queue is full."""
        if len(self._waiters) >= self._max_length:
            raise PoolExhausted("too many requests are waiting for a connection")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append((tick + self._timeout_ticks, waiter))
        return waiter

    def remove(self, waiter: "asyncio.Future[Connection | None]") -> None:
        self._waiters = deque(entry for entry in self._waiters if entry[1] is not waiter)

    def wake_first(self, connection: Connection | None) -> bool:
        """Pass a connection or a slot to the first request. Returns False if no request is waiting."""
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def check_timeouts(self, tick: int) -> None:
        """Fail the requests that have waited too long. The oldest are at the front."""
        while self._waiters and self._waiters[0][0] <= tick:
            self._fail_first(PoolExhausted("no connection became free in time"))

    def fail_all(self, error: Exception) -> None:
        while self._waiters:
            self._fail_first(error)

    def _fail_first(self, error: Exception) -> None:
        _, waiter = self._waiters.popleft()
        if not waiter.done():
            waiter.set_exception(error)
