"""Run by Alembic. Uses the connection of `app.store.postgresql.migrate`, or else the database of the settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from app.settings import load_database_settings
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.tables import metadata


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def _run_on_configured_database() -> None:
    with database_address(load_database_settings()) as url:
        database = Database(url, pool_size=1)
        try:
            async with database.transaction() as transaction:
                await transaction.run_sync(_run)
        finally:
            await database.close()


connection = context.config.attributes.get("connection")
if connection is not None:
    _run(connection)
else:
    asyncio.run(_run_on_configured_database())
