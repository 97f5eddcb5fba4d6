"""Nothing but requests on a connection, and few at a time.

A server may ignore that a client offers another protocol (RFC 9110 section 7.8). uvicorn's parser does not: it takes
the request to end with its head, and the body for the next request, which a gateway in front has never seen.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.server.one_write import OneWriteProtocol

MOST_PIPELINED = 8
_FRAMING = (b"content-length", b"transfer-encoding")


class RequestsAloneProtocol(OneWriteProtocol):
    """Serves a request that offers another protocol as if it did not, and ends a connection that runs far ahead."""

    _has_last = False

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self.transport.is_closing():
                return
            cycle: RequestResponseCycle | None = self.cycle
            if cycle is None or cycle.response_complete:
                self.send_400_response("Invalid HTTP request received.")
            else:
                # It would pass for the answer to the request that is under way.
                self.transport.close()

    def on_headers_complete(self) -> None:
        """Serve the request, now or after those before it."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
            raise httptools.HttpParserError("too many requests ahead of their answers")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note the end of the body, unless the parser only thinks so."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as ended:
                if self._has_last:
                    return
                data = data[ended.args[0] :]
                self._read_on()
            else:
                return

    def _read_on(self) -> None:
        """Have a parser that knows of no other protocol read what follows the head."""
        framing = [b"%s: %s\r\n" % field for field in self.headers if field[0] in _FRAMING]
        if framing or self.scope["method"] == "CONNECT":
            # Where a body ends is known to its parser alone, so this request is the connection's last.
            self.cycle.keep_alive = False
            self._has_last = True
            self.parser = httptools.HttpRequestParser(_OneBody(self))
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
        else:
            super().on_message_complete()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)


class _OneBody:
    """Hands one body on, and nothing of what comes after it."""

    def __init__(self, protocol: RequestsAloneProtocol) -> None:
        self._protocol = protocol
        self._has_ended = False

    def on_body(self, body: bytes) -> None:
        if not self._has_ended:
            self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._protocol.on_message_complete()
