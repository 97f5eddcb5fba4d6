"""The broker survives a failover to a standby that its address names too."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.postgresql.database import Database
from app.store.postgresql.embedded import EmbeddedPostgreSQL
from tests.support.eventually import eventually


def socket_of(server: EmbeddedPostgreSQL) -> str:
    return parse_qs(urlsplit(server.url.get_secret_value()).query)["host"][0]


@pytest.fixture
def servers() -> Iterator[tuple[EmbeddedPostgreSQL, EmbeddedPostgreSQL]]:
    """A primary and its standby."""
    with tempfile.TemporaryDirectory(prefix="broker-failover-") as directory:
        Path(directory).chmod(0o755)
        primary, standby = (EmbeddedPostgreSQL(Path(directory) / name) for name in ("one", "two"))
        try:
            primary.start()
            standby._cluster.parent.mkdir(parents=True)
            standby._cluster.parent.chmod(0o777)
            arguments = ("-h", socket_of(primary), "-U", "broker", "-D", str(standby._cluster), "-R", "-c", "fast")
            standby._run("pg_basebackup", *arguments)
            standby.start()
            yield primary, standby
        finally:
            for server in (primary, standby):
                server.stop("immediate")


async def test_a_failover_is_survived(servers: tuple[EmbeddedPostgreSQL, EmbeddedPostgreSQL]) -> None:
    primary, standby = servers
    hosts = f"{socket_of(primary)},{socket_of(standby)}"
    address = f"postgresql://broker@/postgres?host={hosts}&port=5432,5432&target_session_attrs=read-write"
    database = Database(SecretStr(address), pool_size=2)
    try:
        async with database.transaction() as transaction:
            await transaction.execute(text("CREATE TABLE notes (note text)"))
            await transaction.execute(text("INSERT INTO notes VALUES ('before')"))
        await eventually(lambda: _has_replicated(standby))
        await asyncio.to_thread(primary.stop, "immediate")
        # The standby answers but is read-only, which is an outage and not a bug.
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
        with pytest.raises(OSError, match="target_session_attrs"):
            await Database(SecretStr(f"{standby.url.get_secret_value()}&target_session_attrs=read-write")).connect()
        await asyncio.to_thread(standby._run, "pg_ctl", "promote", "-D", str(standby._cluster), "-w")

        async def takes_writes() -> bool:
            try:
                async with database.transaction() as transaction:
                    await transaction.execute(text("INSERT INTO notes VALUES ('after')"))
            except DatabaseUnavailable:
                return False
            return True

        await eventually(takes_writes)
        async with database.transaction() as transaction:
            notes = (await transaction.execute(text("SELECT note FROM notes"))).scalars().all()
        assert notes == ["before", "after"]
    finally:
        await database.close()


async def _has_replicated(standby: EmbeddedPostgreSQL) -> bool:
    database = Database(standby.url, pool_size=1)
    try:
        async with database.transaction() as transaction:
            return bool((await transaction.execute(text("SELECT to_regclass('notes') IS NOT NULL"))).scalar())
    finally:
        await database.close()
