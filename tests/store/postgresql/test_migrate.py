import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from app.store.postgresql.database import Database
from app.store.postgresql.migrate import migrate
from app.store.postgresql.schema import current_revision
from app.store.tables import metadata
from migrations import HEAD_REVISION
from tests.support.postgresql import Databases


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[Database]:
    async with databases.fresh(migrated=False) as url:
        database = Database(url)
        yield database
        await database.close()


async def tables_of(database: Database) -> set[str]:
    async with database.transaction() as transaction:
        return set(await transaction.run_sync(lambda connection: inspect(connection).get_table_names()))


def test_the_head_revision_is_that_of_the_migration_scripts() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "migrations")
    assert ScriptDirectory.from_config(configuration).get_heads() == [HEAD_REVISION]


async def test_a_migration_creates_every_table(empty: Database) -> None:
    assert await current_revision(empty) is None
    assert await migrate(empty) == (None, HEAD_REVISION)
    assert await tables_of(empty) == {*metadata.tables, "alembic_version"}
    assert await current_revision(empty) == HEAD_REVISION


async def test_a_second_migration_changes_nothing(empty: Database) -> None:
    await migrate(empty)
    assert await migrate(empty) == (HEAD_REVISION, HEAD_REVISION)


async def test_replicas_can_migrate_concurrently(empty: Database) -> None:
    results = await asyncio.gather(*(migrate(empty) for _ in range(3)))
    assert sorted(before is None for before, _ in results) == [False, False, True]
    assert {after for _, after in results} == {HEAD_REVISION}


async def test_migrations_can_be_downgraded_and_repeated(empty: Database) -> None:
    await migrate(empty)

    def downgrade(connection: Connection) -> None:
        configuration = Config()
        configuration.set_main_option("script_location", "migrations")
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "base")

    async with empty.transaction() as transaction:
        await transaction.run_sync(downgrade)
    assert await tables_of(empty) == {"alembic_version"}
    assert await migrate(empty) == (None, HEAD_REVISION)


async def test_the_migrated_schema_is_that_of_the_table_definitions(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": True, "target_metadata": metadata}
        )
        return list(compare_metadata(context, metadata))

    async with database.transaction() as transaction:
        assert await transaction.run_sync(differences) == []
