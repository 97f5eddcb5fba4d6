"""How long an idle connection is kept."""

import asyncio
import socket

import pytest

from app.http_client.headers import idle_timeout
from tests.http_client.support import (
    OK,
    on_each_loop,
    open_pool,
    post_and_read,
    serve_responses,
    wait_until,
)


@on_each_loop
async def test_an_idle_connection_that_the_server_closes_is_discarded_at_once() -> None:
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        await post_and_read(pool)
        assert pool.idle == 1
        server.writers[0].close()
        await wait_until(lambda: pool.idle == 0)
        assert await post_and_read(pool) == b"ok"
        server.writers[1].transport.abort()
        await wait_until(lambda: pool.idle == 0)
        assert await post_and_read(pool) == b"ok"
    assert server.connections == 3


@on_each_loop
async def test_data_on_an_idle_connection_is_not_taken_for_the_next_response() -> None:
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        await post_and_read(pool)
        server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        await wait_until(lambda: pool.idle == 0)
        assert await post_and_read(pool) == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_an_idle_connection_expires() -> None:
    async with serve_responses(OK) as server, open_pool(server.url, keep_alive_seconds=0.1) as pool:
        await post_and_read(pool)
        await wait_until(lambda: pool.idle == 0)
        await post_and_read(pool)
    assert server.connections == 2


@on_each_loop
async def test_an_expired_connection_is_not_used_even_before_the_next_sweep() -> None:
    async with serve_responses(OK) as server, open_pool(server.url, keep_alive_seconds=0.05, sweep_seconds=60) as pool:
        await post_and_read(pool)
        await asyncio.sleep(0.06)
        assert pool.idle == 1
        await post_and_read(pool)
    assert server.connections == 2


@on_each_loop
async def test_a_servers_keep_alive_header_shortens_the_idle_timeout() -> None:
    async with (
        serve_responses(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1, max=100\r\n\r\n")) as server,
        open_pool(server.url) as pool,
    ):
        await post_and_read(pool)
        await post_and_read(pool)
        await asyncio.sleep(0.3)
        assert pool.idle == 1
        await wait_until(lambda: pool.idle == 0)
    assert server.connections == 1


@on_each_loop
async def test_a_connection_is_replaced_at_its_maximum_age() -> None:
    async with serve_responses(OK) as server, open_pool(server.url, max_age_seconds=0.1) as pool:
        for _ in range(15):
            await post_and_read(pool)
            await asyncio.sleep(0.01)
        assert 2 <= server.connections < 15
        await wait_until(lambda: pool.idle == 0)


@on_each_loop
async def test_a_changed_address_of_the_origin_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_responses(OK) as old, serve_responses(OK) as new:
        port = old.port

        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        async with open_pool("http://bank.example/graphql", max_age_seconds=0.05) as pool:
            await post_and_read(pool)
            port = new.port
            await asyncio.sleep(0.1)
            await post_and_read(pool)
        assert (old.connections, new.connections) == (1, 1)


@pytest.mark.parametrize(
    ("announced", "seconds"),
    [
        ("timeout=5", 4),
        ("max=100, Timeout = 8", 7),
        ("timeout=1", 0.5),
        ("timeout=60", 10),
        ("max=1", 10),
        ("timeout=0", 0),
    ],
)
def test_the_idle_timeout_is_shorter_than_announced_and_never_longer_than_the_default(
    announced: str, seconds: float
) -> None:
    assert idle_timeout(announced, 10) == seconds
