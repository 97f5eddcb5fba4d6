import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.errors import ConfigurationError
from app.settings import DatabaseSettings
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.postgresql.embedded import EmbeddedPostgreSQL, embedded_postgresql


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that an unprivileged server can enter, with a space and an umlaut in its name."""
    directory = Path(tempfile.mkdtemp(prefix="broker tests ä "))
    directory.chmod(0o755)
    yield directory
    EmbeddedPostgreSQL(directory).remove()
    shutil.rmtree(directory)


@pytest.fixture
def private(home: Path) -> Iterator[Path]:
    """A data directory that only its owner can enter."""
    home.chmod(0o700)
    yield home / "data"
    EmbeddedPostgreSQL(home / "data").remove()


async def execute(url: SecretStr, statement: str) -> None:
    database = Database(url, pool_size=1)
    async with database.transaction() as transaction:
        await transaction.execute(text(statement))
    await database.close()


async def test_it_keeps_its_data_and_stops_with_its_last_user(home: Path) -> None:
    server = EmbeddedPostgreSQL(home)
    settings = DatabaseSettings(data_dir=home)
    with database_address(settings) as url:
        database = Database(url)
        async with database.transaction() as transaction:
            await transaction.execute(text("CREATE TABLE kept (value text)"))

        # Stops like a power failure. The next start recovers.
        server.stop("immediate")
        assert not server.is_running()
        server.start()
        await database.ping()
        async with database.transaction() as transaction:
            assert (await transaction.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 0
        await database.close()
    assert not server.is_running()


def test_a_second_process_joins_and_the_last_one_stops_it(home: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from app.store.postgresql.embedded import embedded_postgresql\n"
        "with embedded_postgresql(pathlib.Path(sys.argv[1])) as url: print(url.get_secret_value())"
    )
    with embedded_postgresql(home) as url:
        other = subprocess.run(
            [sys.executable, "-c", program, str(home)], timeout=10, check=True, capture_output=True, text=True
        )
        assert other.stdout.strip() == url.get_secret_value()
        assert EmbeddedPostgreSQL(home).is_running()
    assert not EmbeddedPostgreSQL(home).is_running()


def test_a_configured_database_is_used_instead(home: Path) -> None:
    settings = DatabaseSettings(database_url="postgresql://db/broker", data_dir=home)
    with database_address(settings) as url:
        assert url.get_secret_value() == "postgresql://db/broker"
    assert list(home.iterdir()) == []


def test_a_server_that_does_not_start_says_what_to_do(home: Path) -> None:
    cluster = home / "postgresql" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("7.4\n")
    with pytest.raises(ConfigurationError, match="Set BROKER_DATABASE_URL") as refused, embedded_postgresql(home):
        pass
    assert "pg_ctl" in refused.value.detail


async def test_data_in_a_directory_that_only_its_owner_can_enter_is_kept(private: Path) -> None:
    with embedded_postgresql(private) as url:
        await execute(url, "CREATE TABLE kept (value text)")
    assert (private / "postgresql" / "cluster" / "PG_VERSION").exists()
    private.parent.chmod(0o755)
    with embedded_postgresql(private) as url:
        await execute(url, "SELECT value FROM kept")


async def test_a_directory_that_was_deleted_and_made_again_has_a_new_database(private: Path) -> None:
    with embedded_postgresql(private) as url:
        await execute(url, "CREATE TABLE lost (value text)")
    left_behind = (private / "postgresql" / "cluster").resolve().parent
    shutil.rmtree(private)
    with embedded_postgresql(private) as url:
        await execute(url, "CREATE TABLE lost (value text)")
    if not left_behind.is_relative_to(private):
        shutil.rmtree(left_behind)


def test_removing_a_database_leaves_nothing_elsewhere(private: Path) -> None:
    with embedded_postgresql(private):
        cluster = (private / "postgresql" / "cluster").resolve()
        assert cluster.exists()
    EmbeddedPostgreSQL(private).remove()
    assert not cluster.exists()
    assert cluster.is_relative_to(private) or not cluster.parent.exists()


def test_leaving_the_block_succeeds_if_the_server_has_died(home: Path) -> None:
    with embedded_postgresql(home):
        EmbeddedPostgreSQL(home).stop("immediate")
