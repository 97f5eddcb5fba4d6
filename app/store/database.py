"""The connection pool and the one way to open a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import sqlalchemy.exc
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import DatabaseUnavailable

# What the store's functions work in; only `Database.transaction` opens one.
Transaction: TypeAlias = AsyncConnection
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 10.0
# Beside the connection failures (08): out of resources (53), shutting down or failing over (57P), a standby (25006).
_TRANSIENT = ("08", "53", "57P", "25006")


class Database:
    """PostgreSQL through a bounded pool.

    The address goes to asyncpg as libpq has it, so several hosts, socket directories and `sslmode` work.
    """

    def __init__(self, url: SecretStr, *, pool_size: int = 10) -> None:
        self._url = url
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT,
            pool_pre_ping=True,
            hide_parameters=True,
        )

    async def connect(self) -> asyncpg.Connection:
        """Open a connection outside the pool, for what holds one for long."""
        return await asyncpg.connect(
            self._url.get_secret_value(), timeout=CONNECT_TIMEOUT, command_timeout=STATEMENT_TIMEOUT
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit when the block ends, roll back when it raises.

        Raises DatabaseUnavailable where PostgreSQL cannot be reached, is shutting down or is out of resources.
        Whether a commit that fails so took place is not known.
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if not _is_transient(error):
                raise
            raise DatabaseUnavailable(
                "the database cannot be used at the moment; nothing was changed that was not answered, try again",
                retry_after=1,
            ) from error

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, (OSError, asyncpg.InterfaceError, sqlalchemy.exc.TimeoutError)):
        return True
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        original = error.orig
        if error.connection_invalidated or isinstance(error, sqlalchemy.exc.InterfaceError):
            return True
        return str(getattr(original, "sqlstate", None) or "").startswith(_TRANSIENT)
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_TRANSIENT)
    return False
