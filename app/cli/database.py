"""The database, for commands that run without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.base.encryption import KeyRing
from app.settings import load_database_settings, load_key_ring
from app.store.postgresql.address import database_address
from app.store.postgresql.database import STATEMENT_TIMEOUT, Database

Result = TypeVar("Result")
# The actor in the audit log.
OPERATOR = "operator"


def with_database(
    work: Callable[[Database], Awaitable[Result]], *, statement_timeout: float = STATEMENT_TIMEOUT
) -> Result:
    """Run `work` on the database of the settings. `statement_timeout` is in seconds, for each statement."""

    async def run() -> Result:
        settings = load_database_settings()
        with database_address(settings) as url:
            # Commands hold a connection for a long time, so they use the direct address if there is a pooler.
            direct = settings.database_listen_url or url
            database = Database(direct, pool_size=2, statement_timeout=statement_timeout)
            try:
                return await work(database)
            finally:
                await database.close()

    return asyncio.run(run())


def with_key_ring(
    work: Callable[[Database, KeyRing], Awaitable[Result]], *, statement_timeout: float = STATEMENT_TIMEOUT
) -> Result:
    """Run `work` on the database with the encryption keys. `statement_timeout` is in seconds, for each statement."""
    key_ring = load_key_ring()
    return with_database(lambda database: work(database, key_ring), statement_timeout=statement_timeout)
