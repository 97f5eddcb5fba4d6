"""Bring the schema up to date, safely from several replicas at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

import migrations
from app.errors import ConfigurationError
from app.observability.logs import get_logger
from app.store.postgresql.database import Database
from app.store.tables import metadata

# Any number serves, as long as every replica takes the same one.
_LOCK = 7_164_822_901
_LOCK_TIMEOUT = "10s"
logger = get_logger(__name__)


async def migrate(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Upgrade to `revision` and return the revisions before and after.

    One transaction under an advisory lock: a second replica waits, then finds nothing to do.
    """

    def upgrade(connection: Connection) -> tuple[str | None, str | None]:
        before = _revision_of(connection)
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)
        return before, _revision_of(connection)

    async with database.transaction() as transaction:
        await transaction.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        # A migration that must wait for a lock would hold up every query behind it.
        await transaction.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        return await transaction.run_sync(upgrade)


async def current_revision(database: Database) -> str | None:
    """Return the revision that the database is at, or None where it was never migrated."""
    async with database.transaction() as transaction:
        return await transaction.run_sync(_revision_of)


async def require_schema(database: Database) -> None:
    """Raise ConfigurationError on a database that was never migrated, DatabaseUnavailable where there is none."""
    found = await current_revision(database)
    if found is None:
        raise ConfigurationError("the database is empty; run `broker migrate` first")
    if found != expected_revision():
        logger.warning("schema_differs", found=found, expected=expected_revision())


async def missing_tables(database: Database) -> list[str]:
    """Return the tables that this code expects and the database, at whatever revision, does not have."""
    async with database.transaction() as transaction:
        there = await transaction.run_sync(lambda connection: inspect(connection).get_table_names())
    return sorted(set(metadata.tables) - set(there))


def expected_revision() -> str | None:
    """Return the revision that this code was written for."""
    return ScriptDirectory.from_config(_configuration()).get_current_head()


def _revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return configuration
