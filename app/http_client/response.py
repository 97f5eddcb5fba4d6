"""A response: its head, and its body while it arrives."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from app.http_client.errors import HttpClientError


class BodySource(Protocol):
    """The connection that a response arrives on, as the response sees it."""

    def resume_reading(self) -> None:
        """Continue reading: the buffered part of the body was taken."""

    def abort(self) -> None:
        """Close the connection and discard the rest of the body."""


class Response:
    """The head of a response, and its body. The caller must close it.

    Transfer codings are decoded, content codings are not. Once the body is complete, the connection is back in its pool
    and no method waits any more.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_headers_by_name",
        "_loop",
        "_source",
        "_waiter",
        "header_fields",
        "is_complete",
        "status",
        "unread_bytes",
    )

    def __init__(
        self,
        source: BodySource,
        loop: asyncio.AbstractEventLoop,
        status: int,
        header_fields: list[tuple[bytes, bytes]],
        headers_by_name: dict[bytes, bytes],
    ) -> None:
        """`headers_by_name` is `header_fields` as a dictionary."""
        self._source: BodySource | None = source
        self._loop = loop
        self._headers_by_name = headers_by_name
        self._chunks: list[bytes] = []
        self._error: HttpClientError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.status = status
        self.header_fields = header_fields
        """The header fields in their order, names in lower case. A value may have trailing white space."""
        self.unread_bytes = 0
        """How many bytes of the body have arrived and were not taken yet."""
        self.is_complete = False
        """Whether the whole response has arrived. Some of it may be unread."""

    def header(self, name: str) -> str | None:
        """Return the value of a header by its lower-case name, or None. Repeated values are joined with commas.

        RFC 9110, section 5.3.
        """
        key = name.encode("latin-1")
        value = self._headers_by_name.get(key)
        if value is None:
            return None
        if len(self._headers_by_name) != len(self.header_fields):
            value = b", ".join(value.strip(b" \t") for other, value in self.header_fields if other == key)
        # The parser strips leading white space only.
        return value.decode("latin-1").rstrip(" \t")

    @property
    def is_close_delimited(self) -> bool:
        """Whether only the end of the connection marks the end of the body (RFC 9112, section 6.3)."""
        return b"content-length" not in self._headers_by_name and b"transfer-encoding" not in self._headers_by_name

    @property
    def content_length(self) -> int | None:
        """The `Content-Length`, or None if there is none."""
        value = self._headers_by_name.get(b"content-length")
        return None if value is None else int(value)

    def read_if_complete(self) -> bytes | None:
        """Return the whole body if it has arrived, else None. This never waits, so it is the fast path."""
        return self._take_buffered() if self.is_complete else None

    async def peek(self, limit: int) -> bytes:
        """Wait for the end or for more than `limit` bytes, and return what has arrived without taking it.

        Raises HttpClientError.
        """
        while not self.is_complete and self.unread_bytes <= limit:
            await self._wait_for_data()
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    async def read(self) -> bytes:
        """Return the part of the body that has arrived, after waiting for some; empty at the end.

        Raises HttpClientError.
        """
        while not self.unread_bytes:
            if self.is_complete:
                return b""
            await self._wait_for_data()
        return self._take_buffered()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises HttpClientError if it does not arrive completely."""
        while chunk := await self.read():
            yield chunk

    def close(self) -> None:
        """Discard what is unread. If the response is not complete, this closes its connection."""
        self._chunks.clear()
        self.unread_bytes = 0
        if self._source is not None:
            self._source.abort()

    def feed_data(self, chunk: bytes) -> None:
        """Add to the body. The connection calls `wake_reader` after the last addition."""
        self._chunks.append(chunk)
        self.unread_bytes += len(chunk)

    def feed_eof(self) -> None:
        """Mark the response as complete."""
        self._source = None
        self.is_complete = True
        self.wake_reader()

    def set_error(self, error: HttpClientError) -> None:
        """Mark the response as failed. What has arrived can still be read."""
        self._source = None
        self._error = error
        self.wake_reader()

    def wake_reader(self) -> None:
        """Let the waiting reader check for data, the end, or an error."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _take_buffered(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        self.unread_bytes = 0
        if self._source is not None:
            self._source.resume_reading()
        return data

    async def _wait_for_data(self) -> None:
        if self._error is not None:
            raise self._error
        if self._waiter is not None:
            raise RuntimeError("a response can have only one reader")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
