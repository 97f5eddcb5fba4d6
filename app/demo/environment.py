"""The directories of the demo and the environment of its processes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.store.postgresql.embedded_as_root import remove_cluster

KEPT_DIRECTORY = Path(".data/run")
CLIENT_ID = "test-demo"
# A day, because a person logs in.
_SESSION_TTL = 86_400  # seconds
_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run."""

    home: Path

    @property
    def logs(self) -> Path:
        """The directory of the processes' logs."""
        return self.home / "logs"

    @property
    def cluster(self) -> Path:
        """The directory of PostgreSQL's data."""
        return self.home / "postgresql" / "cluster"

    @property
    def database_log(self) -> Path:
        """The log of PostgreSQL."""
        return self.cluster / "server.log"

    @property
    def has_database(self) -> bool:
        """True if an earlier run has left a database."""
        return (self.cluster / "PG_VERSION").exists()


@contextmanager
def temporary_run_directory() -> Iterator[RunDirectory]:
    """Make a temporary directory, and remove it at the end."""
    directory = RunDirectory(Path(tempfile.mkdtemp(prefix="broker-demo-")))
    try:
        # Root's PostgreSQL runs as `nobody`, who must be able to enter the directory.
        directory.home.chmod(0o711)
        yield _with_logs(directory)
    finally:
        remove_cluster(directory.cluster)
        shutil.rmtree(directory.home, ignore_errors=True)


@contextmanager
def kept_run_directory() -> Iterator[RunDirectory]:
    """Open the directory that is kept between runs. Raises BlockingIOError if another run uses it.

    Two runs would share the database but not the bank, and neither bank would know the tokens of the other.
    """
    KEPT_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (KEPT_DIRECTORY / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield _with_logs(RunDirectory(KEPT_DIRECTORY.resolve()))


def _with_logs(directory: RunDirectory) -> RunDirectory:
    directory.logs.mkdir(mode=0o700, exist_ok=True)
    return directory


def clear_environment() -> bool:
    """Remove variables that would change what the demo does, and return whether one of them was a proxy.

    They are removed from this process, because the programs of the database inherit its environment. No proxy is
    needed, because all connections are on loopback.
    """
    removed = [name for name in os.environ if name.lower() in _PROXY_VARIABLES or name.startswith(("BROKER_", "PG"))]
    for name in removed:
        del os.environ[name]
    # The user that PostgreSQL runs as must be able to enter the directories that are made.
    os.umask(0o022)
    return any(name.lower() in _PROXY_VARIABLES for name in removed)


@dataclass(frozen=True)
class Addresses:
    """The URLs of the two servers."""

    broker: str
    bank: str


def broker_environment(
    directory: RunDirectory, addresses: Addresses, *, database_url: str, encryption_keys: str, client_secret: str
) -> dict[str, str]:
    """Return this process's environment with the settings of the broker."""
    settings = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(directory.home),
        "PUBLIC_URL": addresses.broker,
        # The service of the guides in docs/guides.
        "RETURN_URLS": "http://localhost:3000/bank/*",
        "WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
        "QUERY_PAGE": "true",
        "STITCH_ISSUER": addresses.bank,
        "STITCH_GRAPHQL_URL": f"{addresses.bank}/graphql",
        "STITCH_CLIENT_ID": CLIENT_ID,
        "STITCH_CLIENT_SECRET": client_secret,
        "ENCRYPTION_KEYS": encryption_keys,
        "SESSION_TTL": str(_SESSION_TTL),
    }
    return os.environ | {f"BROKER_{name}": value for name, value in settings.items()}
