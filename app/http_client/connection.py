"""One connection to the origin: sends a request, receives the response, and returns to its pool for reuse."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol, cast

from app.http_client.errors import (
    BetweenBytesTimeout,
    FirstByteTimeout,
    HttpClientError,
    IncompleteResponse,
    InvalidResponse,
    NoResponse,
    TotalTimeout,
)
from app.http_client.headers import idle_timeout
from app.http_client.parser import ResponseParser
from app.http_client.response import Response

# Reading pauses while more than this is unread. A single read may exceed it.
HIGH_WATER_MARK = 262_144
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of a request, in ticks of the pool's clock, and of an idle connection, in seconds."""

    first_byte_ticks: int
    between_bytes_ticks: int
    total_ticks: int
    idle_seconds: float


class Pool(Protocol):
    """The pool, as a connection sees it."""

    tick: int
    """A coarse clock. It stops while the event loop is blocked, so that a blocked loop causes no timeouts."""

    def release(self, connection: "Connection") -> None:
        """Take back a connection that can be reused."""

    def discard(self, connection: "Connection") -> None:
        """Forget a connection that cannot be reused. May be called more than once."""


class Connection(asyncio.Protocol):
    """A connection that is idle or has one request in progress."""

    __slots__ = (
        "_deadline",
        "_is_paused",
        "_loop",
        "_parser",
        "_pool",
        "_response_future",
        "_timeouts",
        "_total_deadline",
        "_transport",
        "closed",
        "idle_since",
        "idle_timeout",
        "opened_at",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._pool = pool
        self._loop = loop
        self._timeouts = timeouts
        self._parser = ResponseParser(self, loop)
        self._transport: asyncio.Transport | None = None
        # Set while a request is in progress.
        self._response_future: asyncio.Future[Response] | None = None
        self._is_paused = False
        self._deadline = self._total_deadline = _NEVER
        self.opened_at = self.idle_since = loop.time()
        self.idle_timeout = timeouts.idle_seconds
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the socket is closed."""

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent now."""
        return self._response_future is None and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> "asyncio.Future[Response]":
        """Send a whole request and return the future of its response. Requires `is_usable`."""
        assert self._transport is not None
        tick = self._pool.tick
        self._deadline = tick + self._timeouts.first_byte_ticks
        self._total_deadline = tick + self._timeouts.total_ticks
        self._response_future = response_future = self._loop.create_future()
        self._parser.expect_response(response_future)
        self._transport.write(request)
        return response_future

    def cancel(self, response_future: "asyncio.Future[Response]") -> None:
        """Close the connection if the request of this future is still in progress."""
        if self._response_future is response_future:
            self.abort()
        elif response_future.done() and not response_future.cancelled():
            # It failed while its caller was being cancelled. Retrieve the exception, or asyncio logs it as unhandled.
            response_future.exception()

    def resume_reading(self) -> None:
        """Continue reading after the buffered part of the body was taken."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._deadline = self._pool.tick + self._timeouts.between_bytes_ticks
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection."""
        self._pool.discard(self)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection immediately, even with a request in progress."""
        self._fail(NoResponse("the connection was aborted"), IncompleteResponse("the connection was aborted"))

    def check_timeouts(self, tick: int) -> None:
        """Fail the request in progress if one of its timeouts has expired."""
        if self._response_future is None or tick < min(self._deadline, self._total_deadline):
            return
        incomplete: IncompleteResponse = BetweenBytesTimeout("the response stopped arriving")
        if tick >= self._total_deadline:
            incomplete = TotalTimeout("the response took too long")
        self._fail(FirstByteTimeout("no response arrived in time"), incomplete)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse the data and notify the caller."""
        if self._response_future is None:
            # Unsolicited data (RFC 9112, section 9.2) must not be taken for the response to the next request.
            self.abort()
            return
        self._deadline = self._pool.tick + self._timeouts.between_bytes_ticks
        parser = self._parser
        try:
            parser.feed_data(data)
        except InvalidResponse as error:
            self._fail(error, error)
            return
        response = parser.response
        if response is None:
            return
        if parser.is_complete:
            self._complete(response, keep_alive=parser.keep_alive)
            return
        if response.unread_bytes > HIGH_WATER_MARK:
            # A caller that reads slowly must not cause a between-bytes timeout. The total timeout still applies.
            self._deadline = _NEVER
            self._pause_reading()
        response.wake_reader()

    def eof_received(self) -> None:
        """Complete a close-delimited response (RFC 9112, section 6.3). For any other the end is premature."""
        response = self._parser.response if self._response_future is not None else None
        transport = self._transport
        if response is None or transport is None or not response.is_close_delimited or _is_truncated(transport):
            self._fail(
                NoResponse("the origin closed the connection"),
                IncompleteResponse("the origin closed the connection in the middle of its response"),
            )
        else:
            self._complete(response, keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request in progress."""
        self._fail(NoResponse("the connection was lost"), IncompleteResponse("the connection was lost"), exc)
        self._transport = None
        self.closed.set_result(None)

    def _pause_reading(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _complete(self, response: Response, *, keep_alive: bool) -> None:
        """Complete the response and release the connection, before the caller has read the response."""
        self._response_future = None
        response.feed_eof()
        self.resume_reading()
        if self._transport is None or self._transport.get_write_buffer_size():
            # The origin responded before it had read the whole request, and may never read the rest.
            self.abort()
            return
        if not keep_alive:
            self.close()
            return
        if (announced := response.header("keep-alive")) is not None:
            self.idle_timeout = idle_timeout(announced, self._timeouts.idle_seconds)
        self._pool.release(self)

    def _fail(self, no_response: HttpClientError, incomplete: HttpClientError, cause: Exception | None = None) -> None:
        """Close the connection. The request in progress fails with `incomplete` if its response has started."""
        self._pool.discard(self)
        response_future, self._response_future = self._response_future, None
        if response_future is not None:
            parser = self._parser
            error = incomplete if parser.has_started else no_response
            error.__cause__ = error.__cause__ or cause
            if parser.response is not None:
                parser.response.set_error(error)
            if not response_future.done():
                response_future.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


def _is_truncated(transport: asyncio.Transport) -> bool:
    """Return whether a TLS stream has ended without a closing alert (RFC 9112, section 9.8).

    uvloop does not call `eof_received` in that case, but asyncio does.
    """
    ssl_object = transport.get_extra_info("ssl_object")
    if ssl_object is None:
        return False
    try:
        # After a closing alert this returns no data. Without one, it raises.
        return bool(ssl_object.read(1))
    except ssl.SSLError:
        return True
