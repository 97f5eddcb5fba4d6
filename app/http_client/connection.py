"""One connection to the origin: writes a request, has its answer read, and is given back when it can be used again."""

import asyncio
from typing import Protocol, cast

from app.http_client.errors import (
    BetweenBytesTimedOut,
    Broken,
    FirstByteTimedOut,
    Malformed,
    Unanswered,
    WholeTimedOut,
    WireError,
)
from app.http_client.keep_alive import idle_limit
from app.http_client.parser import AnswerReader
from app.http_client.response import WireResponse
from app.http_client.timeouts import Patience
from app.http_client.tls_end import is_cut

# Reading stops while more than this waits to be taken; what one read brings comes on top.
HIGH_WATER = 262_144
_NEVER = 1 << 62


class Owner(Protocol):
    """What a connection needs of its pool."""

    tick: int
    """A coarse clock. It stands still while the event loop does, so that a stall makes nobody late."""

    def release(self, connection: "Connection") -> None:
        """Take back a connection that can be used again."""

    def forget(self, connection: "Connection") -> None:
        """Take note, once or more, that a connection cannot be used again."""


class Connection(asyncio.Protocol):
    """A connection: idle, or with one request under way."""

    __slots__ = (
        "_asked",
        "_deadline",
        "_ends",
        "_is_paused",
        "_loop",
        "_owner",
        "_patience",
        "_reader",
        "_transport",
        "idle_limit",
        "idle_since",
        "lost",
        "opened_at",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, patience: Patience) -> None:
        self._owner = owner
        self._loop = loop
        self._patience = patience
        self._reader = AnswerReader(self, loop)
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[WireResponse] | None = None
        self._is_paused = False
        self._deadline = self._ends = _NEVER
        self.opened_at = self.idle_since = loop.time()
        self.idle_limit = patience.idle
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the socket is closed."""

    @property
    def is_usable(self) -> bool:
        """Whether a request can be written now."""
        return self._asked is None and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> "asyncio.Future[WireResponse]":
        """Write a whole request; its answer will be the future's result. Only where `is_usable`."""
        assert self._transport is not None
        tick = self._owner.tick
        self._deadline = tick + self._patience.first_byte
        self._ends = tick + self._patience.whole
        self._asked = asked = self._loop.create_future()
        self._reader.expect(asked)
        self._transport.write(request)
        return asked

    def abandon(self, asked: "asyncio.Future[WireResponse]") -> None:
        """End the connection if that request is under way on it yet."""
        if self._asked is asked:
            self.abort()
        elif asked.done() and not asked.cancelled():
            # It failed while its caller was being cancelled: nobody else will ask why.
            asked.exception()

    def resume(self) -> None:
        """Go on reading: what was there of the answer has been taken."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._deadline = self._owner.tick + self._patience.between_bytes
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection."""
        self._owner.forget(self)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._end(Unanswered("the connection was given up"), Broken("the connection was given up"))

    def check_time(self, tick: int) -> None:
        """End the request under way if it has had its time."""
        if self._asked is None or tick < min(self._deadline, self._ends):
            return
        broken: Broken = BetweenBytesTimedOut("the answer came to a halt")
        if tick >= self._ends:
            broken = WholeTimedOut("the answer took too long")
        self._end(FirstByteTimedOut("no answer came in time"), broken)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Have it parsed, and tell whom it concerns."""
        if self._asked is None:
            # Nobody asked (RFC 9112, section 9.2): it must not be taken for the answer to the next request.
            self.abort()
            return
        self._deadline = self._owner.tick + self._patience.between_bytes
        reader = self._reader
        try:
            reader.feed(data)
        except Malformed as error:
            self._end(error, error)
            return
        response = reader.response
        if response is None:
            return
        if reader.is_complete:
            self._finish(response, may_stay=reader.keeps_alive)
            return
        if response.unread > HIGH_WATER:
            # Whoever takes the answer may take his time; the time for the whole goes on.
            self._deadline = _NEVER
            self._pause()
        response.wake()

    def eof_received(self) -> None:
        """End an answer that has no other end (RFC 9112, section 6.3); any other one is broken off."""
        response = self._reader.response
        is_open_ended = self._asked is not None and response is not None and not response.has_length
        if response is not None and is_open_ended and self._transport is not None and not is_cut(self._transport):
            self._finish(response, may_stay=False)
        else:
            self._end(Unanswered("the origin hung up"), Broken("the origin hung up in the middle of its answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way."""
        self._end(Unanswered("the connection was lost"), Broken("the connection was lost"), exc)
        self._transport = None
        self.lost.set_result(None)

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _finish(self, response: WireResponse, *, may_stay: bool) -> None:
        """The answer is whole: the connection is free before anybody has looked at the answer."""
        self._asked = None
        response.complete()
        self.resume()
        if self._transport is None or self._transport.get_write_buffer_size():
            # Answered before the request was written to its end: the rest would never be taken.
            self.abort()
            return
        if not may_stay:
            self.close()
            return
        if (announced := response.header("keep-alive")) is not None:
            self.idle_limit = idle_limit(announced, self._patience.idle)
        self._owner.release(self)

    def _end(self, unanswered: WireError, broken: WireError, cause: Exception | None = None) -> None:
        """Fail what is under way, according to how far it has come, and close."""
        self._owner.forget(self)
        asked, self._asked = self._asked, None
        if asked is not None:
            reader = self._reader
            error = broken if reader.has_begun else unanswered
            error.__cause__ = error.__cause__ or cause
            if reader.response is not None:
                reader.response.fail(error)
            if not asked.done():
                asked.set_exception(error)
        if self._transport is not None:
            self._transport.abort()
