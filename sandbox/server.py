"""A uvicorn server that announces its address and whose connections the application can drop."""

import asyncio
import socket
import sys

import uvicorn
from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT = "sandbox.transport"


class DroppableProtocol(HttpToolsProtocol):
    """HTTP/1.1 protocol that gives the application access to its transport."""

    def on_message_begin(self) -> None:
        """Add the transport to the scope of the new request."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class AnnouncingServer(uvicorn.Server):
    """Prints its address once it accepts connections; a process that started it on port 0 reads the port there."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the address."""
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            sys.stdout.write(f"listening on http://{host}:{port}\n")
            sys.stdout.flush()


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection after the data sent so far, and wait until it is closed.

    If the application returned earlier, uvicorn would send a 500 or wait for the rest of the body.
    """
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
