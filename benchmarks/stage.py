"""Starts what a measurement needs: a database, an upstream, and brokers with callers and connections."""

import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
from pydantic import SecretStr

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.callers.permissions import Permission
from app.demo.environment import Addresses, RunDirectory, broker_environment
from app.demo.keys import Keys, new_keys
from app.demo.ports import HOST, choose_ports
from app.demo.processes import ChildProcess, broker_command, run_broker, running
from app.store.postgresql.database import Database
from app.store.postgresql.embedded import embedded_postgresql
from benchmarks.links import Links
from benchmarks.report import Report


@dataclass(frozen=True, slots=True)
class Bank:
    """A process that responds to queries."""

    url: str
    child: ChildProcess


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that is ready, and a caller with all permissions except for mutations."""

    url: str
    pid: int
    authorization: str
    links: Links
    seconds_to_readiness: float
    environment: Mapping[str, str]

    def query_url(self, connection_id: str) -> str:
        """Return the URL for queries of a connection."""
        return f"{self.url}/v1/connections/{connection_id}/graphql"


class Stage:
    """Starts processes for a measurement, and stops them after it."""

    def __init__(self, place: RunDirectory, keys: Keys, database_url: str, report: Report, *, quick: bool) -> None:
        self.place = place
        self.report = report
        self.quick = quick
        self._keys = keys
        self._database_url = database_url
        self._started = 0

    @property
    def postgresql_pid(self) -> int:
        """The process id of the database's parent process."""
        pid_file = self.place.home / "postgresql" / "cluster" / "postmaster.pid"
        return int(pid_file.read_text(encoding="ascii").split()[0])

    @contextmanager
    def upstream(self, *, huge_bytes: int = 200_000_000) -> Iterator[Bank]:
        """Run the upstream."""
        arguments = [sys.executable, "-m", "benchmarks.upstream", "--huge-bytes", str(huge_bytes)]
        with running("the upstream", arguments, None, self._log("upstream")) as child:
            child.wait_until(lambda: bool(child.log_lines()), expected="that the upstream listens")
            yield Bank(f"http://{HOST}:{child.log_lines()[0]}", child)

    @contextmanager
    def sandbox(self, broker_url: str) -> Iterator[Bank]:
        """Run the sandbox bank for a broker at this address."""
        arguments = [
            *(sys.executable, "-m", "sandbox", "--host", HOST, "--port", "0"),
            *("--client-id=test-demo", f"--client-secret={self._keys.client_secret}"),
            f"--redirect-uri={broker_url}/callback",
        ]
        with running("the bank", arguments, None, self._log("bank")) as child:
            child.wait_until(lambda: bool(child.log_lines()), expected="that the bank listens")
            yield Bank(child.log_lines()[0].rpartition(" ")[2], child)

    @asynccontextmanager
    async def broker(
        self, bank_url: str, *, url: str | None = None, workers: int = 1, database: str = "postgres", **settings: object
    ) -> AsyncIterator[RunningBroker]:
        """Run a broker on a database of this name, which is made if need be. `settings` as in the README."""
        url = url or free_url()
        database_url = await self._database(database)
        environment = broker_environment(
            self.place,
            Addresses(url, bank_url),
            database_url=database_url,
            encryption_keys=self._keys.encryption_keys,
            client_secret=self._keys.client_secret,
        )
        environment |= {f"BROKER_{name.upper()}": str(value) for name, value in settings.items()}
        run_broker("migrate", environment=environment)
        self._started += 1
        permissions = [
            f"--permission={permission}" for permission in Permission if permission is not Permission.GRAPHQL_MUTATE
        ]
        created = json.loads(
            run_broker(
                "callers", "create", f"benchmark-{self._started}", *permissions, "--json", environment=environment
            )
        )
        async with AsyncExitStack() as stack:
            client = BankClient(bank_url, environment["BROKER_STITCH_CLIENT_ID"])
            own = Database(SecretStr(database_url), pool_size=2)
            stack.push_async_callback(own.close)
            command = broker_command("serve", "--port", url.rpartition(":")[2], "--workers", str(workers))
            began = time.perf_counter()
            child = stack.enter_context(running("the broker", command, environment, self._log("broker")))
            child.wait_until(lambda: is_ready(url), expected="that the broker gets ready")
            yield RunningBroker(
                url=url,
                pid=child.pid,
                authorization=f"Bearer {created['api_key']}",
                links=Links(own, KeyRing.parse(self._keys.encryption_keys), client),
                seconds_to_readiness=time.perf_counter() - began,
                environment=environment,
            )

    @asynccontextmanager
    async def connected(self, database: str) -> AsyncIterator[asyncpg.Connection]:
        """Open a connection to a database, without the broker."""
        connection = await asyncpg.connect(self._url_of(database))
        try:
            yield connection
        finally:
            await connection.close()

    async def _database(self, name: str) -> str:
        async with self.connected("postgres") as connection:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}"')
        return self._url_of(name)

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self._database_url)._replace(path=f"/{database}"))

    def _log(self, name: str) -> Path:
        return self.place.logs / f"{name}-{self._started}.log"


@contextmanager
def open_stage(place: RunDirectory, report: Report, *, quick: bool) -> Iterator[Stage]:
    """Start the database."""
    with embedded_postgresql(place.home) as url:
        yield Stage(place, new_keys(), url.get_secret_value(), report, quick=quick)


def free_url() -> str:
    """Return a URL of this machine whose port is free."""
    return f"http://{HOST}:{choose_ports([0])[0][0]}"


def is_ready(url: str) -> bool:
    """Return whether a broker is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
