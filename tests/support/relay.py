"""A TCP relay in front of PostgreSQL, which tests can cut and restore to simulate an outage."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr


class Relay:
    """Passes bytes between clients on a TCP port and the Unix socket of the server."""

    def __init__(self, url: SecretStr) -> None:
        self._target = urlsplit(url.get_secret_value())
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> SecretStr:
        """The URL of the same database through this relay."""
        target = self._target
        return SecretStr(f"postgresql://{target.username}@127.0.0.1:{self._port}{target.path}?sslmode=disable")

    async def restore(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break all connections and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = f"{parse_qs(self._target.query)['host'][0]}/.s.PGSQL.5432"
        server_reader, server_writer = await asyncio.open_unix_connection(socket)
        both = {writer, server_writer}
        self._open |= both
        try:
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        finally:
            self._open -= both
            for end in both:
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def run_relay(url: SecretStr) -> AsyncIterator[Relay]:
    """Yield a relay to the database at `url` that accepts connections."""
    relay = Relay(url)
    await relay.restore()
    try:
        yield relay
    finally:
        await relay.cut()
