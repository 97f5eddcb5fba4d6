"""`broker migrate`: the schema of the database."""

import typer

from app.base.imports import import_large_module
from app.cli.database import with_database
from app.cli.output import AsJson, show
from app.store.postgresql.database import Database
from app.store.postgresql.schema import current_revision
from migrations import HEAD_REVISION

# Building an index on a large table takes minutes. Waiting for a lock has a much shorter timeout of its own.
_STATEMENT_TIMEOUT = 3_600.0  # seconds


def migrate(as_json: AsJson = False) -> None:
    """Migrate the database to the current schema.

    It is safe to run several times, and from several machines at the same time.
    """
    before, after = with_database(_migrate, statement_timeout=_STATEMENT_TIMEOUT)
    if as_json:
        show({"before": before, "after": after}, as_json=True)
    elif before == after:
        typer.echo(f"the schema is up to date ({after})")
    else:
        typer.echo(f"migrated from {before or 'nothing'} to {after}")


async def _migrate(database: Database) -> tuple[str | None, str | None]:
    revision = await current_revision(database)
    if revision == HEAD_REVISION:
        # Most runs find nothing to do, and do not wait for the import of Alembic.
        return revision, revision
    result: tuple[str | None, str | None] = await import_large_module("app.store.postgresql.migrate").migrate(database)
    return result
