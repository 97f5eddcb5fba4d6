"""Makes answers of bytes: the parser of one connection.

llhttp in its strict mode parses: it refuses bare line feeds, a Content-Length beside a Transfer-Encoding, a repeated
Content-Length, and folded lines. What it leaves to its user is done here: interim answers, limits, transfer codings
that were not asked for, and what follows the end of an answer (RFC 9112, section 9.2).
"""

import asyncio

import httptools

from app.http_client.errors import Malformed
from app.http_client.response import Source, WireResponse

# How much may come without a byte of body among it: a head with all interim ones, chunk extensions, trailers.
LONGEST_HEAD = 65_536


class AnswerReader:
    """Parses one answer after another. Its `on_` methods are what the parser calls."""

    __slots__ = ("_asked", "_fields", "_loop", "_parser", "_room", "_source", "is_complete", "keeps_alive", "response")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._asked: asyncio.Future[WireResponse] | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._room = LONGEST_HEAD
        self.response: WireResponse | None = None
        """The answer under way, from the end of its head."""
        self.is_complete = False
        self.keeps_alive = False
        """Whether the connection can be used again: the answer has come to its end, and nothing after it."""
        self._parser = httptools.HttpResponseParser(self)

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer has come."""
        return self._room < LONGEST_HEAD or self.response is not None

    def expect(self, asked: "asyncio.Future[WireResponse]") -> None:
        """Make ready for the next answer, which will be the future's result as soon as its head is there."""
        self._asked = asked
        self._fields = []
        self._room = LONGEST_HEAD
        self.response = None
        self.is_complete = self.keeps_alive = False

    def feed(self, data: bytes) -> None:
        """Parse what came. Raises Malformed, except for what is wrong after the end of the answer."""
        try:
            if len(data) <= self._room:
                self._room -= len(data)
                self._parser.feed_data(data)
            else:
                self._feed_by_room(memoryview(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # More came than was asked for: none of it may be taken for the answer to the next request.
            self.keeps_alive = False
            if self.is_complete:
                return
            if isinstance(error.__context__, Malformed):
                raise error.__context__ from None
            raise Malformed("the answer is not HTTP/1.1") from error

    def _feed_by_room(self, data: memoryview) -> None:
        """Feed what may be too much. Each byte of body makes room again."""
        while data:
            if not self._room:
                raise Malformed("the answer's head, or what stands between its body, is too long")
            piece = data[: self._room]
            data = data[self._room :]
            self._room -= len(piece)
            self._parser.feed_data(piece)

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self.is_complete:
            raise Malformed("more came after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head. Those of trailers end in a list that nobody looks at."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand the answer over, unless it is an interim one (RFC 9110, section 15.2)."""
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        if status < 200:
            if status == 101:
                raise Malformed("the origin changes to a protocol that nobody asked for")
            return
        table = dict(fields)
        if b"transfer-encoding" in table:
            # No other coding was asked for, nor could be taken off (RFC 9112, sections 6.1 and 7).
            codings = [value.strip().lower() for name, value in fields if name == b"transfer-encoding"]
            if codings != [b"chunked"]:
                raise Malformed("the answer has a transfer coding that nobody asked for")
        self._room = LONGEST_HEAD
        asked = self._asked
        self.response = response = WireResponse(self._source, self._loop, status, fields, table)
        # Not where the caller has gone in the meantime.
        if asked is not None and not asked.done():
            asked.set_result(response)

    def on_body(self, chunk: bytes) -> None:
        """Pass on a piece of the body."""
        self._room = LONGEST_HEAD
        assert self.response is not None
        self.response.feed(chunk)

    def on_message_complete(self) -> None:
        """Note the end, unless it is an interim answer's."""
        if self.response is not None:
            self.is_complete = True
            self.keeps_alive = self._parser.should_keep_alive()
