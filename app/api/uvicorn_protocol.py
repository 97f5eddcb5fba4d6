"""The HTTP/1.1 protocol of the server: uvicorn's, made stricter and cheaper.

It relies on internals of uvicorn and httptools, so pyproject.toml allows a single minor version of each. After an
upgrade, tests/api/uvicorn_protocol/test_uvicorn_internals.py says what has changed and which behaviour depends on it.
"""

import asyncio
import json

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# The limit for what arrives without a byte of body in between: heads, trailers, chunk extensions.
MAX_HEAD_BYTES = 131_072
MAX_PIPELINED_REQUESTS = 8
# Copying a larger body costs more than the second write.
_MAX_JOINED_BYTES = 16_384
_FRAMING_HEADERS = (b"content-length", b"transfer-encoding")
_HEAD_TOO_LARGE = json.dumps(
    {
        "type": "urn:stitch-token-broker:error:head_too_large",
        "title": "The request is too large",
        "status": 431,
        "detail": f"the address and headers of a request may have {MAX_HEAD_BYTES} bytes together",
        "code": "head_too_large",
    }
).encode()
_HEAD_TOO_LARGE_RESPONSE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
) % (len(_HEAD_TOO_LARGE), _HEAD_TOO_LARGE)


class StrictHttpProtocol(HttpToolsProtocol):
    """Serves HTTP/1.1 requests only, limits what a connection can buffer, and writes small responses at once.

    It differs from uvicorn's protocol as follows:

    - A connection is closed if its head, trailers or chunk extensions do not end (RFC 6585, section 5). Bodies are
      limited elsewhere.
    - Trailers are not added to the headers (RFC 9110, section 6.5.1).
    - The number of pipelined requests is limited.
    - An offer of another protocol is ignored (RFC 9110, section 7.8). uvicorn's parser would end the request at its
      head and take the body for the next request, which a gateway in front has never checked (request smuggling).
    - An invalid request gets no response of its own while another request is in progress.
    - A response's head and the start of its body are one write.
    """

    _bytes_without_body = 0
    _is_last_request = False

    def data_received(self, data: bytes) -> None:
        """Parse the data, and close the connection if it is invalid or has too much data outside of bodies."""
        self._bytes_without_body += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self._reject_invalid_request()
        if self._bytes_without_body > MAX_HEAD_BYTES and not self.transport.is_closing():
            if self._is_response_complete():
                self.transport.write(_HEAD_TOO_LARGE_RESPONSE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Start the request, or queue it behind those before it."""
        # uvicorn adds trailers to `headers` later, and the application must not see them.
        self.scope["headers"] = self.headers.copy()
        if len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            self.transport.abort()
            raise httptools.HttpParserError("too many pipelined requests")
        previous_cycle = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        # A response to HEAD has no body that its head could wait for. With `Expect: 100-continue`, the first write may
        # be an interim response.
        if cycle is not previous_cycle and cycle.scope["method"] != "HEAD" and not cycle.waiting_for_100_continue:
            cycle.transport = JoinedWriteTransport(self.transport)

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body to the application."""
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body, unless only the parser thinks that it ends here, for an offer of another protocol."""
        self._bytes_without_body = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _is_response_complete(self) -> bool:
        """Return whether no request is in progress, so that the protocol itself may respond."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _reject_invalid_request(self) -> None:
        if self._is_response_complete():
            self.send_400_response("Invalid HTTP request received.")
        else:
            # The client would take a response for that of the request in progress.
            self.transport.close()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._is_last_request:
                    return
                data = data[upgrade.args[0] :]
                self._ignore_upgrade()
            else:
                return

    def _ignore_upgrade(self) -> None:
        """Continue with a new parser, which has not seen the offer of another protocol."""
        framing = [b"%s: %s\r\n" % header for header in self.headers if header[0] in _FRAMING_HEADERS]
        if framing or self.scope["method"] == "CONNECT":
            # Only the new parser can tell where this body ends, so the connection is closed after this request.
            self.cycle.keep_alive = False
            self._is_last_request = True
            self.parser = httptools.HttpRequestParser(_SingleBody(self))
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
        else:
            super().on_message_complete()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)


class _SingleBody:
    """Parser callbacks that pass on a single body and ignore everything after it."""

    def __init__(self, protocol: StrictHttpProtocol) -> None:
        self._protocol = protocol
        self._has_ended = False

    def on_body(self, body: bytes) -> None:
        if not self._has_ended:
            self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._protocol.on_message_complete()


class JoinedWriteTransport(asyncio.Transport):
    """The transport of one response: delays its first write, the head, and joins it with the second.

    ASGI allows this (HTTP & WebSocket specification, "Response Start"): a server sends the head with the first part of
    the body. uvicorn writes it at once, which takes a small response two system calls and two packets instead of one.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # None before the head, and empty after it was written.
        self._head: bytes | bytearray | memoryview | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write the data, but keep the head for the next write."""
        head = self._head
        if head is None:
            self._head = data
            return
        if head:
            self._head = b""
            if len(data) <= _MAX_JOINED_BYTES:
                data = b"".join((head, data))
            else:
                self._transport.write(head)
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the connection is closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Write the head if it is still kept, then close the connection."""
        if self._head:
            self._transport.write(self._head)
        self._transport.close()
