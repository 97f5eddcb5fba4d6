"""Migrates the schema. Several replicas may do this at the same time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

import migrations
from app.store.postgresql.database import Database

# Any number that no other advisory lock uses.
_LOCK = 7_164_822_901
_LOCK_TIMEOUT = "10s"


async def migrate(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Upgrade to `revision` and return the revisions before and after.

    Everything happens in one transaction under an advisory lock: a second replica waits, and then has nothing to do.
    """

    def upgrade(connection: Connection) -> tuple[str | None, str | None]:
        before = _revision_of(connection)
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)
        return before, _revision_of(connection)

    async with database.transaction() as transaction:
        await transaction.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        # While a migration waits for a lock, it blocks all later queries on the same table.
        await transaction.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        return await transaction.run_sync(upgrade)


def _revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return configuration
