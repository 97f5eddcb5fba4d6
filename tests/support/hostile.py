"""An HTTP server that sends exactly the bytes that a test gives it, also those that no framework would send."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """The bytes of a response. With `then_hang`, the connection stays open after them."""

    data: bytes
    then_hang: bool = False


DROP = Reply(b"")
HANG = Reply(b"", then_hang=True)


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    """Return a well-formed response with a JSON body. In header names, `_` stands for `-`."""
    body = json.dumps(value).encode()
    named = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in named.items())
    return Reply(f"HTTP/1.1 {status} Any\r\n{head}connection: close\r\n\r\n".encode() + body)


@dataclass
class HostileServer:
    """Answers by path, with or without its query. `received` has the path, headers and body of each request."""

    url: str = ""
    replies: dict[str, Reply | Callable[[], Reply]] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def count(self, path: str) -> int:
        """Return the number of requests for a path."""
        return sum(request[0] == path for request in self.received)

    async def has_received(self) -> bool:
        """Return whether there has been any request."""
        return bool(self.received)

    def document(self, **changes: Any) -> dict[str, Any]:
        """Return a discovery document of this server with changes. None removes a member."""
        members = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revocation",
            "jwks_uri": f"{self.url}/jwks",
        }
        return {name: value for name, value in (members | changes).items() if value is not None}

    def announce(self, **changes: Any) -> None:
        """Serve the discovery document with changes. None removes a member."""
        self.replies["/.well-known/openid-configuration"] = json_reply(self.document(**changes))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path = head.split()[1]
            self.received.append((path, headers, body))
            reply = self.replies.get(path) or self.replies.get(path.partition("?")[0], json_reply({}, 404))
            reply = reply if isinstance(reply, Reply) else reply()
            writer.write(reply.data)
            await writer.drain()
            if reply.then_hang:
                await reader.read()
        writer.close()


@asynccontextmanager
async def hostile_server() -> AsyncIterator[HostileServer]:
    """Run a hostile server on a free port."""
    hostile = HostileServer()
    server = await asyncio.start_server(hostile._serve, "127.0.0.1", 0)
    hostile.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hostile
    finally:
        server.close()
