"""The PostgreSQL server of a run. It can be stopped as if its machine had lost power."""

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
    """The server, started and stopped in a thread because that blocks."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgreSQL(directory)

    @property
    def url(self) -> SecretStr:
        """The address for transactions."""
        return self._server.url

    @property
    def listen_url(self) -> SecretStr:
        """The address for LISTEN. It has a role of its own, so that only the notification channel can be cut off."""
        parts = urlsplit(self.url.get_secret_value())
        return SecretStr(urlunsplit(parts._replace(netloc=f"{LISTENER}@")))

    async def start(self) -> None:
        """Start the server, and return once it accepts connections."""
        await _run_to_completion(self._server.start)

    async def stop(self, mode: str = "immediate") -> None:
        """Stop the server. `immediate` closes every connection at once, and the next start has to recover."""
        if await asyncio.to_thread(self._server.is_running):
            await _run_to_completion(self._server.stop, mode)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection for the scenarios themselves."""
        return await asyncpg.connect(self.url.get_secret_value())

    async def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        connection = await self.connect()
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


async def _run_to_completion(work: Callable[..., None], *arguments: str) -> None:
    """Run `work` in a thread. A thread cannot be cancelled, so a cancelled caller waits for it before the cleanup."""
    task = asyncio.create_task(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(task)
    finally:
        await task


@asynccontextmanager
async def running_postgresql(directory: Path) -> AsyncIterator[PostgreSQL]:
    """Run a migrated PostgreSQL during the block."""
    server = PostgreSQL(directory)
    try:
        await server.start()
        await server.execute(
            # Only a power failure could lose data without fsync. The kernel keeps what a killed server has written.
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
