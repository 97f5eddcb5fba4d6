"""Whether the database has the schema that this version needs. Does not import Alembic, so that starts are quick."""

from sqlalchemy import inspect, text

from app.errors import ConfigurationError
from app.observability.logs import get_logger
from app.store.postgresql.database import Database
from app.store.tables import metadata
from migrations import HEAD_REVISION

logger = get_logger(__name__)


async def current_revision(database: Database) -> str | None:
    """Return the revision of the database, or None if it was never migrated."""
    async with database.transaction() as transaction:
        if (await transaction.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
            return None
        revision: str | None = (await transaction.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        return revision


async def require_schema(database: Database) -> None:
    """Raise ConfigurationError if the database was never migrated, DatabaseUnavailable if it cannot be reached."""
    found = await current_revision(database)
    if found is None:
        raise ConfigurationError("the database is empty; run `broker migrate` first")
    if found != HEAD_REVISION:
        logger.warning("schema_differs", found=found, expected=HEAD_REVISION)


async def missing_tables(database: Database) -> list[str]:
    """Return the tables that this version needs and the database, at whatever revision, lacks."""
    async with database.transaction() as transaction:
        existing = await transaction.run_sync(lambda connection: inspect(connection).get_table_names())
    return sorted(set(metadata.tables) - set(existing))
