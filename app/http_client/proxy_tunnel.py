"""A tunnel through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6)."""

import asyncio
import re
from typing import cast

from app.http_client.errors import NotSent

_LONGEST_HEAD = 65_536
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class Opening(asyncio.Protocol):
    """The connection to a proxy, until the proxy has answered."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = bytearray()
        self.transport: asyncio.Transport | None = None

    async def ask(self, request: bytes) -> asyncio.Transport:
        """Send the CONNECT request and return the transport, which leads to the origin from then on."""
        assert self.transport is not None
        self.transport.write(request)
        await self._answered
        return self.transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the head of the proxy's answer. A granted CONNECT has no body, whatever its head says."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > _LONGEST_HEAD:
                self._refuse("the proxy's answer is too long")
            return
        status = _STATUS_LINE.match(self._head)
        if status is None:
            self._refuse("the proxy does not speak HTTP/1.1")
        elif not status[1].startswith(b"2"):
            self._refuse(f"the proxy refused the tunnel with status {status[1].decode()}")
        elif len(self._head) > end + 4:
            # In TLS it is the client who speaks first: this is not from the origin.
            self._refuse("the proxy sent more than its answer")
        elif not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, if the tunnel is not open yet."""
        self._refuse("the proxy closed the connection")

    def _refuse(self, reason: str) -> None:
        if not self._answered.done():
            self._answered.set_exception(NotSent(reason))
