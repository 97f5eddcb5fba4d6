"""The `broker` command, called in this process as its script does, or started as a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.callers.registry import CallerRegistry
from app.cli import main
from app.store.postgresql.database import Database
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.support.broker import ENCRYPTION_KEY, EVERYTHING, NO_TLS, PUBLIC_URL, Api
from tests.support.eventually import eventually
from tests.support.logs import capture_logs

BROKER = Path(sys.executable).parent / "broker"


@dataclass(frozen=True)
class Finished:
    """The exit status of a command and what it printed."""

    status: int
    out: str
    err: str


Cli = Callable[..., Finished]


@pytest.fixture
def environment(database_url: SecretStr, bank_url: str, tmp_path: Path) -> dict[str, str]:
    """All the settings that a broker needs, for this test's database and the sandbox bank."""
    return {
        "BROKER_DATABASE_URL": database_url.get_secret_value(),
        "BROKER_DATA_DIR": str(tmp_path / "data"),
        "BROKER_PUBLIC_URL": PUBLIC_URL,
        "BROKER_STITCH_ISSUER": bank_url,
        "BROKER_STITCH_GRAPHQL_URL": f"{bank_url}/graphql",
        "BROKER_STITCH_CLIENT_ID": CLIENT_ID,
        "BROKER_STITCH_CLIENT_SECRET": CLIENT_SECRET,
        "BROKER_ENCRYPTION_KEYS": f"test:{ENCRYPTION_KEY}",
    }


@pytest.fixture
def cli(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """A function that runs a command with `environment` and changes to it; None unsets a variable."""
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)

    def call(*arguments: str, **changes: str | None) -> Finished:
        for name, value in (environment | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["broker", *arguments])
        capsys.readouterr()
        status: list[int] = []

        def run() -> None:
            try:
                main()
            except SystemExit as ending:
                status.append(ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1)
            except Exception:  # noqa: BLE001 - like the interpreter, with a traceback and status 1
                traceback.print_exc()
                status.append(1)

        # Commands run an event loop, and the thread of the tests runs one already.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        printed = capsys.readouterr()
        return Finished(status[0], printed.out, printed.err)

    with capture_logs():
        yield call


@dataclass
class Server:
    """A `broker serve` process."""

    process: asyncio.subprocess.Process
    url: str
    errors: Path

    @property
    def log(self) -> str:
        """What the process has printed."""
        return self.errors.read_text()

    async def ended(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        return await asyncio.wait_for(self.process.wait(), 30)

    async def stop(self) -> int:
        """Send SIGTERM, and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


async def sign_up(server: Server, database: Database, key_ring: KeyRing) -> Api:
    """Create a caller of the tenant `default`."""
    registry = CallerRegistry(database, key_ring)
    caller, key = await registry.create(tenant="default", name="tests", permissions=list(EVERYTHING), actor="tests")
    return Api(server.url, caller, key)


class Servers:
    """Starts `broker serve` processes, and kills those that are left at the end of a test."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self._environment = environment
        self._directory = directory
        self._servers: list[Server] = []

    async def begin(self, *options: str, port: int, **changes: str | None) -> Server:
        """Start a process without waiting for it. A change to None unsets a variable."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
        variables = inherited | self._environment | changes
        environment = {name: value for name, value in variables.items() if value is not None}
        errors = self._directory / f"serve-{len(self._servers)}.log"
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(str(BROKER), "serve", "--port", str(port), *options),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        server = Server(process, f"http://127.0.0.1:{port}", errors)
        self._servers.append(server)
        return server

    async def start(self, *options: str, port: int, **changes: str | None) -> Server:
        """Start a process and return when it is ready."""
        server = await self.begin(*options, port=port, **changes)

        async with httpx.AsyncClient(verify=NO_TLS) as client:

            async def is_ready() -> bool:
                assert server.process.returncode is None, server.log
                try:
                    return (await client.get(f"{server.url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            # A start is slow on a machine that is busy with other tests.
            await eventually(is_ready, timeout_seconds=120)
        return server

    async def end(self) -> None:
        """Kill the processes that still run."""
        for server in self._servers:
            if server.process.returncode is None:
                server.process.kill()
                await server.process.wait()


@pytest.fixture
async def servers(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Servers]:
    """Starts `broker serve` processes for this test."""
    servers = Servers(environment, tmp_path)
    try:
        yield servers
    finally:
        await servers.end()


@pytest.fixture
def free_port() -> int:
    """A port that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
