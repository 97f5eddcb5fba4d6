"""An answer's head and the first of its body in one write.

ASGI has a server send the head no sooner than the first of the body (HTTP & WebSocket specification, "Response Start").
uvicorn writes it at once instead: for a small answer that is two system calls and two packets where one would do.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Data = bytes | bytearray | memoryview
# Larger pieces are not worth a copy.
_WORTH_JOINING = 16_384


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a transport for each answer that writes its head together with what follows."""

    def on_headers_complete(self) -> None:
        """Give the request that is about to be served its own way to the transport."""
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        # An answer to HEAD has nothing that follows its head. Where 100 Continue is awaited, what is written first is
        # not the head.
        if cycle is not before and cycle.scope["method"] != "HEAD" and not cycle.waiting_for_100_continue:
            cycle.transport = HeadHolder(self.transport)


class HeadHolder(asyncio.Transport):
    """Keeps the first write back until the second."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: Data | None = None

    def write(self, data: Data) -> None:
        """Write, unless it is the head."""
        head = self._head
        if head is None:
            self._head = data
            return
        if head:
            self._head = b""
            if len(data) <= _WORTH_JOINING:
                data = b"".join((head, data))
            else:
                self._transport.write(head)
        self._transport.write(data)

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Write what is held, then close."""
        if self._head:
            self._transport.write(self._head)
        self._transport.close()
