"""Where the demo keeps its data, and what its processes are told."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.store.postgresql.embedded_as_root import remove_cluster

KEPT = Path(".data/run")
CLIENT_ID = "test-demo"
# A login that is to be tried by hand may take a day.
_LOGIN_SECONDS = 86_400
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True)
class Place:
    """The directories of one run."""

    home: Path

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.home / "logs"

    @property
    def database_log(self) -> Path:
        """What PostgreSQL says."""
        return self.home / "postgresql" / "cluster" / "server.log"

    @property
    def has_database(self) -> bool:
        """Tell whether an earlier run has left a database."""
        return (self.home / "postgresql" / "cluster" / "PG_VERSION").exists()


@contextmanager
def fresh_place() -> Iterator[Place]:
    """Make a temporary directory, and remove it at the end."""
    home = Path(tempfile.mkdtemp(prefix="broker-demo-"))
    try:
        # The PostgreSQL of root belongs to `nobody`, who has to reach its data.
        home.chmod(0o711)
        yield _prepared(home)
    finally:
        remove_cluster(home / "postgresql" / "cluster")
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def kept_place() -> Iterator[Place]:
    """Make the directory that stays, or find it. Raises BlockingIOError where somebody uses it.

    Two that shared it would have one database and two banks, each of which knows nothing of the other's tokens.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield _prepared(KEPT.resolve())


def _prepared(home: Path) -> Place:
    place = Place(home)
    place.logs.mkdir(mode=0o700, exist_ok=True)
    return place


def clear_environment() -> bool:
    """Forget every setting that would get in the way, and tell whether there was a proxy.

    It is forgotten here, not only for the children: the database's programs inherit this process's environment.
    Everything happens on loopback, where no proxy helps.
    """
    found = [name for name in os.environ if name.lower() in _PROXIES or name.startswith(("BROKER_", "PG"))]
    for name in found:
        del os.environ[name]
    # The directories that are made must be within reach of the database's user.
    os.umask(0o022)
    return any(name.lower() in _PROXIES for name in found)


@dataclass(frozen=True)
class Addresses:
    """Where the two servers are."""

    broker: str
    bank: str


def broker_environment(
    place: Place, addresses: Addresses, *, database_url: str, encryption_keys: str, client_secret: str
) -> dict[str, str]:
    """Return the environment of `broker …`: this one, and the settings."""
    settings = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(place.home),
        "PUBLIC_URL": addresses.broker,
        # Where docs/guides has a service of its reader's.
        "RETURN_URLS": "http://localhost:3000/bank/*",
        "WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
        "QUERY_PAGE": "true",
        "STITCH_ISSUER": addresses.bank,
        "STITCH_GRAPHQL_URL": f"{addresses.bank}/graphql",
        "STITCH_CLIENT_ID": CLIENT_ID,
        "STITCH_CLIENT_SECRET": client_secret,
        "ENCRYPTION_KEYS": encryption_keys,
        "SESSION_TTL": str(_LOGIN_SECONDS),
    }
    return os.environ | {f"BROKER_{name}": value for name, value in settings.items()}
