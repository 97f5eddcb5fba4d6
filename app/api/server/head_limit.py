"""Bounds on what of a request is not its body: how much a head may be, and where it ends.

The server itself would gather a head without end, and add a chunked body's trailers to it.
"""

import json

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.server.requests_alone import RequestsAloneProtocol

MOST_BYTES = 131_072
_PROBLEM = json.dumps(
    {
        "type": "urn:stitch-token-broker:error:head_too_large",
        "title": "The request is too large",
        "status": 431,
        "detail": f"the address and headers of a request may have {MOST_BYTES} bytes together",
        "code": "head_too_large",
    }
).encode()
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
) % (len(_PROBLEM), _PROBLEM)


class BoundedHttpProtocol(RequestsAloneProtocol):
    """Ends a connection that sends more than so much without an end of a head or any of a body (RFC 6585 section 5).

    So headers are bounded, and trailers and extensions of chunks too. Bodies are others' to bound, and wait unread.
    """

    _gathered = 0

    def data_received(self, data: bytes) -> None:
        """Read on, and count."""
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MOST_BYTES and not self.transport.is_closing():
            cycle: RequestResponseCycle | None = self.cycle
            if cycle is None or cycle.response_complete:
                self.transport.write(_REFUSAL)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Serve the request with the headers of its head: trailers are none (RFC 9110 section 6.5.1)."""
        self.scope["headers"] = self.headers.copy()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand some of its body over."""
        self._gathered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another request."""
        self._gathered = 0
        super().on_message_complete()
