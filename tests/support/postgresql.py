"""One embedded PostgreSQL for a whole test run, and a database of its own for each test."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from app.base.randomness import new_id
from app.store.postgresql.database import Database
from app.store.postgresql.embedded import EmbeddedPostgreSQL
from app.store.postgresql.migrate import migrate

# What a power cut would lose is of no interest here.
_HASTE = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")

_MEMORY = Path("/dev/shm")
# For the template, the log of what is written, and the databases of the tests of a moment.
_ROOM = 4 * 1024**3


@contextmanager
def shared_postgresql(base: Path) -> Iterator[SecretStr]:
    """Yield the address of a server that all who name the same `base` share; the last one to leave removes it."""
    home = server_home(base)
    with (base / "postgresql.users").open("ab") as users:
        with _locked(base / "postgresql.start"):
            home.mkdir(parents=True, exist_ok=True)
            server = EmbeddedPostgreSQL(home)
            server.start()
            fcntl.flock(users, fcntl.LOCK_SH)
        yield server.url
        with _locked(base / "postgresql.start"), contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            server.stop("immediate")
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def server_home(base: Path) -> Path:
    """Return a directory for the server of `base`: in memory where there is room, as it is copied for each test.

    It is not below `base`, because the server of root, which is another user's, cannot enter pytest's directories.
    """
    name = hashlib.sha256(str(base).encode()).hexdigest()[:16]
    has_room = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    return (_MEMORY if has_room else Path(tempfile.gettempdir())) / f"broker-tests-{name}"


def named(url: SecretStr, database: str) -> SecretStr:
    """Return the address of another database of the same server."""
    return SecretStr(urlunsplit(urlsplit(url.get_secret_value())._replace(path=f"/{database}")))


class Databases:
    """Makes databases from a migrated template, and drops them."""

    def __init__(self, server: SecretStr, administrator: asyncpg.Connection) -> None:
        self._server = server
        self._administrator = administrator
        self._template = new_id("template")

    async def prepare(self) -> None:
        """Make the template."""
        for setting in _HASTE:
            await self._administrator.execute(f"ALTER SYSTEM SET {setting}")
        await self._administrator.execute("SELECT pg_reload_conf()")
        await self._administrator.execute(f"CREATE DATABASE {self._template}")
        database = Database(named(self._server, self._template), pool_size=1)
        await migrate(database)
        await database.close()

    @asynccontextmanager
    async def fresh(self, *, migrated: bool = True) -> AsyncIterator[SecretStr]:
        """Yield the address of a database that nobody else knows; an empty one where it is not `migrated`."""
        name = new_id("test")
        template = self._template if migrated else "template0"
        await self._administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield named(self._server, name)
        finally:
            await self._administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def opened_databases(server: SecretStr) -> AsyncIterator[Databases]:
    """Yield the databases of a server, ready for use."""
    administrator = await asyncpg.connect(server.get_secret_value())
    try:
        databases = Databases(server, administrator)
        await databases.prepare()
        yield databases
    finally:
        await administrator.close()
