"""A uvicorn that says when it accepts connections, and that can drop one."""

import asyncio
import socket
import sys

import uvicorn
from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT = "sandbox.transport"


class DroppableProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose connection is within reach of the application."""

    def on_message_begin(self) -> None:
        """Add the connection to the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class AnnouncingServer(uvicorn.Server):
    """Prints its address once it accepts, so that whoever started it on port 0 learns the port."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            sys.stdout.write(f"listening on http://{host}:{port}\n")
            sys.stdout.flush()


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection after what was sent so far, and wait until it is closed.

    uvicorn would answer 500 to an application that returns early, or wait for the rest of a body.
    """
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
