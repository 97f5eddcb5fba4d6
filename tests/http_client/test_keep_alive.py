"""How long an idle connection is kept."""

import asyncio
import socket

import pytest

from app.http_client.keep_alive import idle_limit
from tests.http_client.support import (
    OK,
    answering,
    ask_whole,
    eventually,
    on_each_loop,
    pooled,
)


@on_each_loop
async def test_an_idle_connection_that_was_closed_is_dropped_at_once() -> None:
    async with answering(OK) as server, pooled(server.url) as pool:
        await ask_whole(pool)
        assert pool.idle == 1
        server.writers[0].close()
        await eventually(lambda: pool.idle == 0)
        assert await ask_whole(pool) == b"ok"
        server.writers[1].transport.abort()
        await eventually(lambda: pool.idle == 0)
        assert await ask_whole(pool) == b"ok"
    assert server.connections == 3


@on_each_loop
async def test_what_comes_on_an_idle_connection_is_nobodys_answer() -> None:
    async with answering(OK) as server, pooled(server.url) as pool:
        await ask_whole(pool)
        server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        await eventually(lambda: pool.idle == 0)
        assert await ask_whole(pool) == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_an_idle_connection_is_not_kept_for_ever() -> None:
    async with answering(OK) as server, pooled(server.url, keep_alive_seconds=0.1) as pool:
        await ask_whole(pool)
        await eventually(lambda: pool.idle == 0)
        await ask_whole(pool)
    assert server.connections == 2


@on_each_loop
async def test_an_old_idle_connection_is_not_used_though_no_sweep_has_been() -> None:
    async with answering(OK) as server, pooled(server.url, keep_alive_seconds=0.05, sweep_seconds=60) as pool:
        await ask_whole(pool)
        await asyncio.sleep(0.06)
        assert pool.idle == 1
        await ask_whole(pool)
    assert server.connections == 2


@on_each_loop
async def test_a_server_may_say_how_long_it_keeps_a_connection() -> None:
    async with (
        answering(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1, max=100\r\n\r\n")) as server,
        pooled(server.url) as pool,
    ):
        await ask_whole(pool)
        await ask_whole(pool)
        await asyncio.sleep(0.3)
        assert pool.idle == 1
        await eventually(lambda: pool.idle == 0)
    assert server.connections == 1


@on_each_loop
async def test_a_connection_grows_old() -> None:
    async with answering(OK) as server, pooled(server.url, max_age_seconds=0.1) as pool:
        for _ in range(15):
            await ask_whole(pool)
            await asyncio.sleep(0.01)
        assert 2 <= server.connections < 15
        await eventually(lambda: pool.idle == 0)


@on_each_loop
async def test_a_name_that_has_moved_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(OK) as old, answering(OK) as new:
        port = old.port

        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        async with pooled("http://bank.example/graphql", max_age_seconds=0.05) as pool:
            await ask_whole(pool)
            port = new.port
            await asyncio.sleep(0.1)
            await ask_whole(pool)
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
def test_what_a_server_says_of_keeping_is_taken_with_care(announced: str, seconds: float) -> None:
    assert idle_limit(announced, 10) == seconds
