"""Parses the responses of one connection.

llhttp parses in its strict mode: it rejects bare line feeds, Content-Length together with Transfer-Encoding, repeated
Content-Length, and folded lines. The rest is done here: interim responses, size limits, unexpected transfer codings,
and data after the end of a response (RFC 9112, section 9.2).
"""

import asyncio

import httptools

from app.http_client.errors import InvalidResponse
from app.http_client.response import BodySource, Response

# The limit for what arrives without a byte of body in between: heads, interim responses, chunk extensions, trailers.
MAX_HEAD_BYTES = 65_536


class ResponseParser:
    """Parses one response after another. llhttp calls the `on_…` methods."""

    __slots__ = (
        "_bytes_left",
        "_header_fields",
        "_loop",
        "_parser",
        "_response_future",
        "_source",
        "is_complete",
        "keep_alive",
        "response",
    )

    def __init__(self, source: BodySource, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._response_future: asyncio.Future[Response] | None = None
        self._header_fields: list[tuple[bytes, bytes]] = []
        self._bytes_left = MAX_HEAD_BYTES
        self.response: Response | None = None
        """The current response, once its head is complete."""
        self.is_complete = False
        self.keep_alive = False
        """Whether the connection can be reused: the response is complete, and nothing followed it."""
        self._parser = httptools.HttpResponseParser(self)

    @property
    def has_started(self) -> bool:
        """Whether any byte of the response has arrived."""
        return self._bytes_left < MAX_HEAD_BYTES or self.response is not None

    def expect_response(self, response_future: "asyncio.Future[Response]") -> None:
        """Prepare for the next response. The future gets it as its result as soon as its head is complete."""
        self._response_future = response_future
        self._header_fields = []
        self._bytes_left = MAX_HEAD_BYTES
        self.response = None
        self.is_complete = self.keep_alive = False

    def feed_data(self, data: bytes) -> None:
        """Parse what has arrived. Raises InvalidResponse, except for errors after the end of the response."""
        try:
            if len(data) <= self._bytes_left:
                self._bytes_left -= len(data)
                self._parser.feed_data(data)
            else:
                self._feed_in_pieces(memoryview(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Data after the end of a response must never be taken for the response to the next request.
            self.keep_alive = False
            if self.is_complete:
                return
            if isinstance(error.__context__, InvalidResponse):
                raise error.__context__ from None
            raise InvalidResponse("the response is not HTTP/1.1") from error

    def _feed_in_pieces(self, data: memoryview) -> None:
        """Parse data that may exceed the limit. Every byte of body resets the limit."""
        while data:
            if not self._bytes_left:
                raise InvalidResponse("the response's head, or what separates its body's chunks, is too long")
            piece = data[: self._bytes_left]
            data = data[self._bytes_left :]
            self._bytes_left -= len(piece)
            self._parser.feed_data(piece)

    def on_message_begin(self) -> None:
        """Reject a second response to the same request."""
        if self.is_complete:
            raise InvalidResponse("there is data after the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field. Trailer fields are added to a list that is never read."""
        self._header_fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Deliver the response, unless it is an interim response (RFC 9110, section 15.2)."""
        status = self._parser.get_status_code()
        header_fields, self._header_fields = self._header_fields, []
        if status < 200:
            if status == 101:
                raise InvalidResponse("the origin switched to a protocol that was not requested")
            return
        headers_by_name = dict(header_fields)
        if b"transfer-encoding" in headers_by_name:
            # The client announces no other coding and could not decode one (RFC 9112, sections 6.1 and 7).
            codings = [value.strip().lower() for name, value in header_fields if name == b"transfer-encoding"]
            if codings != [b"chunked"]:
                raise InvalidResponse("the response has a transfer coding that was not requested")
        self._bytes_left = MAX_HEAD_BYTES
        response_future = self._response_future
        self.response = response = Response(self._source, self._loop, status, header_fields, headers_by_name)
        # The future is done already if the caller was cancelled.
        if response_future is not None and not response_future.done():
            response_future.set_result(response)

    def on_body(self, chunk: bytes) -> None:
        """Pass on a part of the body."""
        self._bytes_left = MAX_HEAD_BYTES
        assert self.response is not None
        self.response.feed_data(chunk)

    def on_message_complete(self) -> None:
        """Note the end of the response, but not the end of an interim one."""
        if self.response is not None:
            self.is_complete = True
            self.keep_alive = self._parser.should_keep_alive()
