"""`broker serve` in a process of its own."""

import asyncio
import json
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from tests.cli.conftest import Cli, Servers, sign_up
from tests.support.broker import NO_TLS
from tests.support.eventually import eventually
from tests.support.postgresql import Databases
from tests.support.rows import Rows


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[SecretStr]:
    """The URL of a database that was never migrated."""
    async with databases.fresh(migrated=False) as url:
        yield url


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can enter: root's PostgreSQL runs as another user."""
    with tempfile.TemporaryDirectory(prefix="broker-serve-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_a_stop_answers_the_query_in_progress_and_ends_requests_that_wait_for_a_login(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    server = await servers.start(port=free_port)
    async with await sign_up(server, database, key_ring) as api:
        session = await api.start()
        waiting = asyncio.create_task(api.session(session["id"], wait=60))
        await api.session(session["id"])
        connection = await rows.link(bank)
        await bank.set_faults(graphql={"delay": 1.5, "times": 1})
        query = asyncio.create_task(api.query(connection.id))

        async def has_reached_the_bank() -> bool:
            return (await bank.http.get("/sandbox/faults")).json()["graphql"] is None

        await eventually(has_reached_the_bank)
        ended = asyncio.create_task(server.stop())
        assert (await waiting)["status"] == "pending"
        assert not query.done()
        assert (await query).json()["data"]
        assert await ended in (0, -15)
    lines = [json.loads(line) for line in server.log.splitlines()]
    events = [line["event"] for line in lines]
    assert events.index("started") < events.index("request") < events.index("stopped")
    assert not [line for line in lines if line["level"] in ("error", "critical")]


async def test_a_gateway_has_time_to_notice_a_stop(
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


async def test_a_port_that_is_in_use_is_reported(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        for workers in ("1", "2"):
            server = await servers.begin("--workers", workers, port=port)
            assert await server.ended() not in (0, None)
            assert "address already in use" in server.log.lower()
            assert "Traceback" not in server.log


async def test_a_database_that_was_never_migrated_stops_the_start(
    cli: Cli, servers: Servers, free_port: int, empty_database_url: SecretStr
) -> None:
    url = empty_database_url.get_secret_value()
    server = await servers.begin(port=free_port, BROKER_DATABASE_URL=url)
    assert await server.ended() != 0
    [line] = [line for line in server.log.splitlines() if "broker migrate" in line]
    assert "run `broker migrate` first" in line
    assert "Traceback" not in server.log
    finished = cli("serve", "--workers", "2", BROKER_DATABASE_URL=url)
    assert (finished.status, finished.err.count("\n")) == (1, 1)
    assert "run `broker migrate` first" in finished.err


def test_a_wrong_setting_stops_the_start(cli: Cli) -> None:
    finished = cli("serve", BROKER_ENCRYPTION_KEYS="planted-secret")
    assert (finished.status, finished.err.count("\n")) == (1, 1)
    assert "BROKER_ENCRYPTION_KEYS" in finished.err
    assert "planted-secret" not in finished.err


async def test_a_database_url_that_the_driver_refuses_stops_the_start(servers: Servers, free_port: int) -> None:
    url = "postgresql://user:planted-secret@127.0.0.1/x?sslmode=nonsense"
    server = await servers.begin(port=free_port, BROKER_DATABASE_URL=url)
    assert await server.ended() != 0
    assert "BROKER_DATABASE_URL" in server.log
    assert "Traceback" not in server.log
    assert "planted-secret" not in server.log


async def test_a_database_that_is_not_there_yet_is_waited_for_and_console_logs_are_for_people(
    servers: Servers, free_port: int
) -> None:
    server = await servers.begin(
        port=free_port,
        BROKER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere",
        BROKER_LOG_FORMAT="console",
    )

    async def is_waiting() -> bool:
        return "waiting_for_database" in server.log

    await eventually(is_waiting)
    assert server.process.returncode is None
    await server.stop()
    assert not server.log.lstrip().startswith("{")


async def test_metrics_can_be_served_on_another_port(servers: Servers, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        metrics_port = reserved.getsockname()[1]
    server = await servers.start(port=free_port, BROKER_METRICS_PORT=str(metrics_port))
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        assert (await client.get(f"{server.url}/metrics")).status_code == 404
        metrics = await client.get(f"http://127.0.0.1:{metrics_port}/metrics")
        assert "broker_http_requests_total" in metrics.text
    assert await server.stop() in (0, -15)


async def test_commands_work_beside_a_running_broker_with_the_embedded_database(
    cli: Cli, servers: Servers, free_port: int, open_directory: Path
) -> None:
    embedded: dict[str, str | None] = {"BROKER_DATABASE_URL": None, "BROKER_DATA_DIR": str(open_directory)}
    assert cli("migrate", **embedded).status == 0
    server = await servers.start(port=free_port, **embedded)
    assert cli("callers", "list", **embedded).status == 0
    assert await server.stop() in (0, -15)
