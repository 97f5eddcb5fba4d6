"""What commands need of the broker, without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.base.encryption import KeyRing
from app.callers.registry import CallerRegistry
from app.settings import load_database_settings, load_key_ring
from app.store.postgresql.address import database_address
from app.store.postgresql.database import STATEMENT_TIMEOUT, Database

Result = TypeVar("Result")
# Who the audit says it was.
OPERATOR = "operator"


def with_database(
    work: Callable[[Database], Awaitable[Result]], *, statement_timeout: float = STATEMENT_TIMEOUT
) -> Result:
    """Run `work` on the database of the settings. A statement may take so many seconds."""

    async def run() -> Result:
        settings = load_database_settings()
        with database_address(settings) as url:
            # A direct address, where there is one, rather than a pooler's: commands hold connections for long.
            direct = settings.database_listen_url or url
            database = Database(direct, pool_size=2, statement_timeout=statement_timeout)
            try:
                return await work(database)
            finally:
                await database.close()

    return asyncio.run(run())


def with_registry(work: Callable[[CallerRegistry], Awaitable[Result]]) -> Result:
    """Run `work` on the callers of the database."""
    key_ring = load_key_ring()
    return with_database(lambda database: work(CallerRegistry(database, key_ring)))


def with_key_ring(
    work: Callable[[Database, KeyRing], Awaitable[Result]], *, statement_timeout: float = STATEMENT_TIMEOUT
) -> Result:
    """Run `work` on the database with the encryption keys. A statement may take so many seconds."""
    key_ring = load_key_ring()
    return with_database(lambda database: work(database, key_ring), statement_timeout=statement_timeout)
