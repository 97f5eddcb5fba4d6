"""An answer under way: its head, and its body as it comes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from app.http_client.errors import WireError


class Source(Protocol):
    """Where an answer comes from, as long as there is more of it to come."""

    def resume(self) -> None:
        """Go on reading: everything that was there has been taken."""

    def abort(self) -> None:
        """Give the rest up, and the connection with it."""


class WireResponse:
    """The head of an answer, and its body. To be closed by its owner.

    The body is as it was sent: a transfer coding is taken off, a content coding is not. Where all of it has come
    already, the connection is back in its pool, and nothing of what follows waits.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_loop",
        "_source",
        "_table",
        "_waiter",
        "fields",
        "is_complete",
        "status",
        "unread",
    )

    def __init__(
        self,
        source: Source,
        loop: asyncio.AbstractEventLoop,
        status: int,
        fields: list[tuple[bytes, bytes]],
        table: dict[bytes, bytes],
    ) -> None:
        """`table` is `fields` as a dictionary."""
        self._source: Source | None = source
        self._loop = loop
        self._table = table
        self._chunks: list[bytes] = []
        self._error: WireError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.status = status
        self.fields = fields
        """The header fields in their order, names in lower case. A value may have white space after it."""
        self.unread = 0
        """How many bytes of the body are here and wait to be taken."""
        self.is_complete = False
        """Whether the message has come to its end; some of it may be unread yet."""

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its lower-case name; of one that was repeated, all with commas between.

        RFC 9110, section 5.3.
        """
        key = name.encode("latin-1")
        value = self._table.get(key)
        if value is None:
            return None
        if len(self._table) != len(self.fields):
            value = b", ".join(value.strip(b" \t") for other, value in self.fields if other == key)
        # The parser takes white space off in front alone.
        return value.decode("latin-1").rstrip(" \t")

    @property
    def has_length(self) -> bool:
        """Whether the head tells how the end of the body is known, other than by the end of the connection."""
        return b"content-length" in self._table or b"transfer-encoding" in self._table

    @property
    def content_length(self) -> int | None:
        """What the head says of the body's length, if it does."""
        value = self._table.get(b"content-length")
        return None if value is None else int(value)

    def whole(self) -> bytes | None:
        """Take the body if all of it is here, else None: the way for small answers, as it never waits."""
        return self._take() if self.is_complete else None

    async def beginning(self, limit: int) -> bytes:
        """Wait for the end, or for more than `limit` bytes, and return what is there without taking it."""
        while not self.is_complete and self.unread <= limit:
            await self._more()
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    async def read(self) -> bytes:
        """Take what is there of the body, after waiting until something is. Empty at the end. Raises WireError."""
        while not self.unread:
            if self.is_complete:
                return b""
            await self._more()
        return self._take()

    async def stream(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. Raises WireError where it does not come to its end."""
        while chunk := await self.read():
            yield chunk

    def close(self) -> None:
        """Be done with it: what has not come yet is given up, and the connection with it."""
        self._chunks.clear()
        self.unread = 0
        if self._source is not None:
            self._source.abort()

    def feed(self, chunk: bytes) -> None:
        """Add to the body; the connection calls `wake` when it is done with adding."""
        self._chunks.append(chunk)
        self.unread += len(chunk)

    def wake(self) -> None:
        """Let the reader look at what has changed."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def complete(self) -> None:
        """Note that all has come."""
        self._source = None
        self.is_complete = True
        self.wake()

    def fail(self, error: WireError) -> None:
        """Note that no more will come. What is there can be taken yet."""
        self._source = None
        self._error = error
        self.wake()

    def _take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        self.unread = 0
        if self._source is not None:
            self._source.resume()
        return data

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        if self._waiter is not None:
            raise RuntimeError("an answer has one reader")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
