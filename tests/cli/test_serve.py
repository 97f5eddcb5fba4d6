"""`broker serve`, as a process of its own."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.callers.registry import CallerRegistry
from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from tests.cli.conftest import BROKER, Server, Servers
from tests.support.broker import EVERYTHING, Api
from tests.support.eventually import eventually
from tests.support.postgresql import Databases
from tests.support.rows import Rows


async def sign_up(server: Server, database: Database, key_ring: KeyRing) -> Api:
    """Make a caller of the tenant `default`."""
    registry = CallerRegistry(database, key_ring)
    caller, key = await registry.create(tenant="default", name="tests", permissions=list(EVERYTHING), actor="tests")
    return Api(server.url, caller, key)


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[SecretStr]:
    """The address of a database that was never migrated."""
    async with databases.fresh(migrated=False) as url:
        yield url


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter: root's PostgreSQL runs as another user."""
    with tempfile.TemporaryDirectory(prefix="broker-serve-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_it_serves_until_it_is_told_to_stop(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    server = await servers.start(port=free_port)
    async with await sign_up(server, database, key_ring) as api:
        connection = await rows.link(bank)
        assert (await api.query(connection.id)).json()["data"]
    assert await server.stop() in (0, -15)
    lines = [json.loads(line) for line in server.log.splitlines()]
    events = [line["event"] for line in lines]
    assert events.index("started") < events.index("request") < events.index("stopped")
    assert not [line for line in lines if line["level"] in ("error", "critical")]


async def test_a_query_under_way_is_answered_before_it_stops(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    server = await servers.start(port=free_port)
    async with await sign_up(server, database, key_ring) as api:
        connection = await rows.link(bank)
        await bank.set_faults(graphql={"delay": 1.5, "times": 1})
        query = asyncio.create_task(api.query(connection.id))

        async def has_reached_the_bank() -> bool:
            return (await bank.http.get("/sandbox/faults")).json()["graphql"] is None

        await eventually(has_reached_the_bank)
        ended = asyncio.create_task(server.stop())
        answer = await query
        assert answer.json()["data"]
        assert await ended in (0, -15)
    assert '"event": "stopped"' in server.log


async def test_a_gateway_has_time_to_notice_that_it_stops(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    server = await servers.start(port=free_port, BROKER_STOP_DELAY="60")
    async with await sign_up(server, database, key_ring) as api:
        connection = await rows.link(bank)
        server.process.send_signal(signal.SIGTERM)

        async def is_not_ready() -> bool:
            return (await api.get("/readyz")).status_code == 503

        await eventually(is_not_ready)
        answer = await api.query(connection.id)
        assert answer.json()["data"]
        assert answer.headers["connection"] == "close"
    assert await server.stop() in (0, -15)


async def test_who_waits_for_a_login_is_not_waited_for(
    servers: Servers, free_port: int, database: Database, key_ring: KeyRing, bank: SandboxClient
) -> None:
    server = await servers.start(port=free_port)
    async with await sign_up(server, database, key_ring) as api:
        session = await api.start()
        waiting = asyncio.create_task(api.session(session["id"], wait=60))
        await api.session(session["id"])
        assert await server.stop() in (0, -15)
        assert (await waiting)["status"] == "pending"


async def test_two_workers_share_the_work_and_stop_together(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    server = await servers.start("--workers", "2", port=free_port)
    async with await sign_up(server, database, key_ring) as api:
        connection = await rows.link(bank)
        await bank.control("expire")
        answers = await asyncio.gather(*(api.query(connection.id) for _ in range(20)))
        assert all(answer.json()["data"] for answer in answers)
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"ok": 1}
    assert await server.stop() in (0, -15)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", free_port)


async def test_workers_end_with_a_supervisor_that_was_killed(servers: Servers, free_port: int) -> None:
    server = await servers.start("--workers", "2", port=free_port)
    server.process.kill()

    async def is_free() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", free_port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    await eventually(is_free, timeout_seconds=60)


async def test_a_port_that_is_taken_is_told(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in ("1", "2"):
            server = await servers.begin("--workers", workers, port=port)
            assert await server.ended() not in (0, None)
            assert "address already in use" in server.log.lower()
            assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_database_that_was_never_migrated_is_told(
    servers: Servers, free_port: int, empty_database_url: SecretStr, workers: str
) -> None:
    url = empty_database_url.get_secret_value()
    server = await servers.begin("--workers", workers, port=free_port, BROKER_DATABASE_URL=url)
    assert await server.ended() != 0
    assert "run `broker migrate` first" in server.log
    assert "Traceback" not in server.log
    if workers == "1":
        assert sum("broker migrate" in line for line in server.log.splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"BROKER_DATABASE_URL": "postgresql://user:planted-secret@127.0.0.1/x?sslmode=nonsense"},
        {"BROKER_ENCRYPTION_KEYS": "planted-secret"},
    ],
    ids=str,
)
async def test_a_wrong_setting_stops_the_start(servers: Servers, free_port: int, change: dict[str, str | None]) -> None:
    server = await servers.begin(port=free_port, **change)
    assert await server.ended() != 0
    assert next(iter(change)) in server.log
    assert "Traceback" not in server.log
    assert "planted-secret" not in server.log


async def test_a_database_that_is_not_there_yet_is_waited_for(
    servers: Servers, free_port: int, environment: dict[str, str]
) -> None:
    server = await servers.begin(port=free_port, BROKER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")

    async def is_waiting() -> bool:
        return "waiting_for_database" in server.log

    await eventually(is_waiting)
    assert server.process.returncode is None
    await server.stop()


async def test_metrics_can_be_served_elsewhere(servers: Servers, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        metrics_port = reserved.getsockname()[1]
    server = await servers.start(port=free_port, BROKER_METRICS_PORT=str(metrics_port))
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/metrics")).status_code == 404
        elsewhere = await client.get(f"http://127.0.0.1:{metrics_port}/metrics")
        assert "broker_http_requests_total" in elsewhere.text
    assert await server.stop() in (0, -15)


async def test_two_workers_count_together(servers: Servers, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        metrics_port = reserved.getsockname()[1]
    server = await servers.start("--workers", "2", port=free_port, BROKER_METRICS_PORT=str(metrics_port))
    requests = 20

    def workers() -> list[int]:
        return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", server.log)]

    async def have_begun(number: int) -> bool:
        return len(workers()) == number

    await eventually(lambda: have_begun(2), timeout_seconds=60)

    async def counted() -> float:
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
        found = re.search(
            r'^broker_http_requests_total\{method="GET",route="unmatched",status="404"\} (\S+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    # A connection of its own for each, so that both workers get some.
    async with httpx.AsyncClient(headers={"connection": "close"}) as client:
        for _ in range(requests):
            assert (await client.get(f"{server.url}/nowhere")).status_code == 404
    assert await counted() == requests
    os.kill(workers()[0], signal.SIGKILL)
    await eventually(lambda: have_begun(3), timeout_seconds=60)
    assert await counted() == requests, "what a lost worker has counted still counts"
    assert await server.stop() in (0, -15)


async def test_console_logs_are_for_people(servers: Servers, free_port: int) -> None:
    server = await servers.start(port=free_port, BROKER_LOG_FORMAT="console")
    await server.stop()
    assert "started" in server.log
    assert not server.log.lstrip().startswith("{")


async def test_commands_work_beside_a_running_broker_with_the_embedded_database(
    servers: Servers, free_port: int, environment: dict[str, str], open_directory: Path
) -> None:
    embedded: dict[str, str | None] = {"BROKER_DATABASE_URL": None, "BROKER_DATA_DIR": str(open_directory)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    own = {name: value for name, value in (environment | embedded).items() if value is not None}

    async def broker(*arguments: str) -> int:
        process = await asyncio.create_subprocess_exec(
            BROKER, *arguments, env=inherited | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return await asyncio.wait_for(process.wait(), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert await broker("migrate") == 0
    server = await servers.start(port=free_port, **embedded)
    assert await broker("callers", "list") == 0
    assert await server.stop() in (0, -15)
