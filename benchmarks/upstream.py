"""`python -m benchmarks.upstream`: the bank behind all proxies, as cheap as possible and with constant responses.

`POST /graphql` returns 214 bytes with a bearer token, and 401 without one. `POST /huge` returns `--huge-bytes` bytes as
fast as the client reads them. It uses the same event loop and parser as the broker's server.
"""

import argparse
import asyncio
import sys
from typing import cast

import httptools
import uvloop

_BODY = (
    b'{"data":{"user":{"id":"user/abc","bankAccounts":[{"name":"Cheque","currentBalance":'
    b'{"quantity":"1204.55","currency":"ZAR"}},{"name":"Savings","currentBalance":'
    b'{"quantity":"91204.12","currency":"ZAR"}}]}}}'
)
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_GOOD = _HEAD % (b"200 OK", len(_BODY)) + _BODY
_REFUSED = _HEAD % (b"401 Unauthorized", 2) + b"{}"
_CHUNK = b"x" * 65_536


class Upstream(asyncio.Protocol):
    """A connection."""

    huge_bytes = 0

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._is_authorized = False
        self._left = 0
        self._is_paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass the data to the parser."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Start a request."""
        self._path = url
        self._is_authorized = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Check for a token."""
        if name.lower() == b"authorization":
            self._is_authorized = value.startswith(b"Bearer ")

    def on_message_complete(self) -> None:
        """Send the response."""
        assert self._transport is not None
        if self._path == b"/huge":
            self._transport.write(_HEAD % (b"200 OK", self.huge_bytes))
            self._left = self.huge_bytes
            self._write_body()
        else:
            self._transport.write(_GOOD if self._is_authorized else _REFUSED)

    def pause_writing(self) -> None:
        """Stop writing until the client has read."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Continue writing."""
        self._is_paused = False
        self._write_body()

    def _write_body(self) -> None:
        assert self._transport is not None
        while self._left and not self._is_paused and not self._transport.is_closing():
            chunk = _CHUNK[: self._left]
            self._left -= len(chunk)
            self._transport.write(chunk)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--huge-bytes", type=int, default=200_000_000)
    Upstream.huge_bytes = parser.parse_args().huge_bytes
    uvloop.run(_serve())
