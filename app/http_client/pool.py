"""A lean HTTP/1.1 client for one origin: many small POST requests at the least CPU time each.

A request is one write and its answer, as a rule, one read and one wake-up: no task and no timer of its own. Nothing is
ever sent twice: whether it may be is for the caller to judge, by the kind of error.
"""

import asyncio
import ssl
from collections.abc import Iterable

from app.http_client.connect import dial
from app.http_client.connection import Connection
from app.http_client.connections import Supply
from app.http_client.headers import HeaderLines
from app.http_client.response import WireResponse
from app.http_client.route import route_to
from app.http_client.timeouts import Patience, ticks


class OriginPool:
    """The way to one origin. To be made where an event loop runs, and to be closed there."""

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
        whole_timeout: float,
        keep_alive_seconds: float,
        max_age_seconds: float = 300.0,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        sweep_seconds: float = 0.25,
    ) -> None:
        """Every request goes to `url`. Raises ValueError for addresses that cannot be used.

        Times are in seconds. A coarse clock measures those of requests and of the queue: they end at the time given, or
        up to two sweeps later. `first_byte_timeout` runs from the writing of the request, so a long one must be sent
        within it; a caller who takes the body slowly is at the expense of `whole_timeout` alone. `max_age_seconds` is
        how long a connection is used at most, so that a change of address is followed. `ssl_context` is by default one
        that verifies. `proxy` is the address of an HTTP proxy.
        """
        self._loop = loop = asyncio.get_running_loop()
        route = route_to(url, ssl_context=ssl_context, proxy=proxy)
        self._beginning = route.beginning
        patience = Patience(
            first_byte=ticks(first_byte_timeout, sweep_seconds),
            between_bytes=ticks(between_bytes_timeout, sweep_seconds),
            whole=ticks(whole_timeout, sweep_seconds),
            idle=keep_alive_seconds,
        )

        async def open_one(owner: Supply) -> Connection:
            self._keep_time()
            return await dial(route, lambda: Connection(owner, loop, patience), patience=connect_timeout)

        self._supply = Supply(
            open_one,
            loop,
            places=max_connections,
            queue_length=queue_length,
            queue_patience=ticks(queue_timeout, sweep_seconds),
            longest_life=max_age_seconds,
        )
        self._sweep_seconds = sweep_seconds
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> int:
        """How many connections are being opened or have a request under way."""
        return self._supply.busy

    @property
    def idle(self) -> int:
        """How many connections wait to be used."""
        return self._supply.idle

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return self._supply.waiting

    async def post(self, lines: Iterable[HeaderLines], body: bytes) -> WireResponse:
        """Send a request; its answer is to be closed. Raises WireError.

        Being cancelled ends the connection that the request is under way on.
        """
        request = b"".join((self._beginning, *lines, b"Content-Length: %d\r\n\r\n" % len(body), body))
        connection = self._supply.idle_one() or await self._supply.another_one()
        asked = connection.send(request)
        try:
            return await asked
        except BaseException:
            connection.abandon(asked)
            raise

    async def close(self) -> None:
        """Close every connection, those in use too, and turn away who waits."""
        await self._supply.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep_time(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        """One timer for all, and none while there are no connections."""
        self._timer = None
        if self._supply.sweep():
            self._keep_time()
