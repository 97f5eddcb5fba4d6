"""`broker serve --workers`: several processes behind one port."""

import asyncio
import os
import re
import signal
import socket

import httpx
import pytest

from app.base.encryption import KeyRing
from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from tests.cli.conftest import Server, Servers, sign_up
from tests.support.broker import NO_TLS
from tests.support.eventually import eventually
from tests.support.rows import Rows

REQUESTS = 20


def process_ids(server: Server) -> list[int]:
    """Return the processes of the workers, in the order in which they were started."""
    return [int(process_id) for process_id in re.findall(r"Started server process \[(\d+)\]", server.log)]


async def wait_for_workers(server: Server, number: int) -> None:
    """Return when this many workers have been started in all, or more: uvicorn replaces one that is too slow."""

    async def have_started() -> bool:
        return len(process_ids(server)) >= number

    await eventually(have_started, timeout_seconds=60)


async def counted_requests(metrics_port: int) -> float:
    """Return how many requests without a route all workers have counted."""
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        text = (await client.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
    count = re.search(
        r'^broker_http_requests_total\{method="GET",route="unmatched",status="404"\} (\S+)$', text, re.MULTILINE
    )
    return float(count[1]) if count else 0.0


async def test_two_workers_share_the_work_count_together_and_stop_together(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, bank: SandboxClient
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        metrics_port = reserved.getsockname()[1]
    server = await servers.start("--workers", "2", port=free_port, BROKER_METRICS_PORT=str(metrics_port))
    await wait_for_workers(server, 2)
    async with await sign_up(server, database, key_ring) as api:
        connection = await rows.link(bank)
        await bank.control("expire")
        answers = await asyncio.gather(*(api.query(connection.id) for _ in range(REQUESTS)))
        assert all(answer.json()["data"] for answer in answers)
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"ok": 1}
    # A new connection for each request, so that both workers get some.
    async with httpx.AsyncClient(headers={"connection": "close"}, verify=NO_TLS) as client:
        for _ in range(REQUESTS):
            assert (await client.get(f"{server.url}/nowhere")).status_code == 404
    assert await counted_requests(metrics_port) == REQUESTS
    os.kill(process_ids(server)[0], signal.SIGKILL)
    await wait_for_workers(server, 3)
    assert await counted_requests(metrics_port) == REQUESTS, "what a killed worker has counted still counts"
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
