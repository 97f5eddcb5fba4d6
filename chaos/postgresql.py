"""The one PostgreSQL of a run, which can be cut off like a machine whose power fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from app.store.postgresql.database import Database
from app.store.postgresql.embedded import EmbeddedPostgreSQL
from app.store.postgresql.migrate import migrate

LISTENER = "chaos_listener"


class PostgreSQL:
    """Started and stopped off the event loop."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgreSQL(directory)

    @property
    def url(self) -> SecretStr:
        """Where replicas work."""
        return self._server.url

    @property
    def listen_url(self) -> SecretStr:
        """Where replicas listen: as a role of its own, so that the notification channel can be cut by itself."""
        parts = urlsplit(self.url.get_secret_value())
        return SecretStr(urlunsplit(parts._replace(netloc=f"{LISTENER}@")))

    async def start(self) -> None:
        """Start it and return once it accepts connections."""
        await _to_its_end(self._server.start)

    async def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` ends every connection at once and leaves recovery to the next start."""
        if await asyncio.to_thread(self._server.is_running):
            await _to_its_end(self._server.stop, mode)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection of chaos' own."""
        return await asyncpg.connect(self.url.get_secret_value())

    async def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        connection = await self.connect()
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


async def _to_its_end(work: Callable[..., None], *arguments: str) -> None:
    """Work in a thread. It cannot be cancelled, so who is cancelled waits for it before anything is cleaned up."""
    task = asyncio.create_task(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(task)
    finally:
        await task


@asynccontextmanager
async def running_postgresql(directory: Path) -> AsyncIterator[PostgreSQL]:
    """Run a migrated PostgreSQL for as long as the block."""
    server = PostgreSQL(directory)
    try:
        await server.start()
        await server.execute(
            # The kernel keeps what a killed server has written, so haste with the disk loses nothing here.
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
            f"CREATE ROLE {LISTENER} LOGIN",
        )
        database = Database(server.url, pool_size=1)
        await migrate(database)
        await database.close()
        yield server
    finally:
        await asyncio.shield(server.stop())
