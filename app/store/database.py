"""The connection pool and the one way to open a transaction."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import sqlalchemy.exc
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import BrokerError, ConfigurationError, DatabaseUnavailable, UnprocessableRequest

# What the store's functions work in; only `Database.transaction` opens one.
Transaction: TypeAlias = AsyncConnection
# Where a transaction gathers what it changes.
TOPICS = "topics"
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 10.0
# A burst on a cold cache waits its turn rather than fail.
_POOL_TIMEOUT = 30.0
# Beside the connection failures (08): deadlocks (40), out of resources (53), shutting down or failing over (57P), a
# standby (25006).
_TRANSIENT = ("08", "40", "53", "57P", "25006")
# Characters, texts and moments that PostgreSQL cannot store.
_NOT_STORABLE = ("22021", "22P02", "22P05", "22008")
# Undefined table or column; wrong user, password or database (PostgreSQL, appendix A).
_UNMIGRATED = ("42P01", "42703")
_REFUSED = ("28", "3D")


class Database:
    """PostgreSQL through a bounded pool.

    The address goes to asyncpg as libpq has it, so several hosts, socket directories and `sslmode` work.
    """

    def __init__(self, url: SecretStr, *, pool_size: int = 10) -> None:
        self._url = url
        self._announce: Callable[[str], None] = _nobody
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT,
            pool_pre_ping=True,
            hide_parameters=True,
        )

    async def connect(self) -> asyncpg.Connection:
        """Open a connection outside the pool, for what holds one for long."""
        try:
            return await asyncpg.connect(
                self._url.get_secret_value(), timeout=CONNECT_TIMEOUT, command_timeout=STATEMENT_TIMEOUT
            )
        except ValueError as error:
            raise asyncpg.exceptions.ClientConfigurationError("the address cannot be read") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit when the block ends, roll back when it raises.

        Raises DatabaseUnavailable where PostgreSQL cannot be reached, is shutting down or is out of resources, and
        ConfigurationError where it refuses the broker's account or was never migrated.
        Whether a commit that fails so took place is not known.
        """
        try:
            async with self._engine.begin() as connection:
                topics = connection.info[TOPICS] = []
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if (translated := _translate(error)) is None:
                raise
            raise translated from error
        for topic in topics:
            self._announce(topic)

    def on_change(self, announce: Callable[[str], None]) -> None:
        """Call `announce` with what a transaction of this process has changed, as soon as it is committed."""
        self._announce = announce

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()


def _is_client_side(error: BaseException | None) -> bool:
    """Tell whether the driver itself could not write a value, which it says with its plainest DataError."""
    candidates = (error, error.__cause__ if error else None)
    return any(type(one) is asyncpg.exceptions.DataError for one in candidates)


def _nobody(_topic: str) -> None:
    pass


def _is_configuration(error: BaseException) -> bool:
    kind = asyncpg.exceptions.ClientConfigurationError
    return isinstance(error, kind) or isinstance(error.__cause__, kind)


def _translate(error: Exception) -> BrokerError | None:
    """Return what an error of the driver means for the broker; None for a fault of ours."""
    original: BaseException | None = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if original is not None and _is_configuration(original):
        return ConfigurationError("BROKER_DATABASE_URL cannot be used: it is not an address as libpq has it")
    state = str(getattr(original, "sqlstate", None) or "")
    if state in _NOT_STORABLE or _is_client_side(original):
        return UnprocessableRequest("a value is none that can be stored", code="value_not_storable")
    if state in _UNMIGRATED:
        return ConfigurationError("the database does not have this version's tables; run `broker migrate`")
    if state.startswith(_REFUSED):
        return ConfigurationError(
            "PostgreSQL refuses the user, the password or the database of BROKER_DATABASE_URL; correct it there"
        )
    invalidated = isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated
    unreachable = (OSError, asyncpg.InterfaceError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
    if invalidated or isinstance(error, unreachable) or state.startswith(_TRANSIENT):
        return DatabaseUnavailable(
            "the database cannot be used at the moment; nothing was changed that was not answered, try again",
            retry_after=1,
        )
    return None
