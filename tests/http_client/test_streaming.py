"""Large bodies pass in little memory, and nobody is waited for who has gone."""

import asyncio
import tracemalloc

import pytest

from app.http_client import BetweenBytesTimedOut
from app.http_client.connection import HIGH_WATER
from tests.http_client.support import (
    LINES,
    OK,
    Conversation,
    answering,
    ask,
    ask_whole,
    eventually,
    on_each_loop,
    pooled,
    read_request,
    serving,
)

_PIECE = b"x" * 65_536


def sending(size: int, sent: list[int]) -> Conversation:
    """Answer with that much, counting what the network took; then with OK."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(_PIECE)):
            writer.write(_PIECE)
            await writer.drain()
            sent.append(len(_PIECE))
        while True:
            await read_request(reader)
            writer.write(OK)

    return converse


@on_each_loop
async def test_reading_stops_while_nobody_takes_the_body() -> None:
    sent: list[int] = []
    size = 1_000 * len(_PIECE)
    async with serving(sending(size, sent)) as server, pooled(server.url, between_bytes_timeout=0.05) as pool:
        response = await ask(pool)
        await asyncio.sleep(0.2)
        # Beyond this, it is the network that holds it. A caller who takes his time is not the origin's fault.
        assert HIGH_WATER < response.unread <= 3 * HIGH_WATER
        assert sum(sent) < size // 2
        read = 0
        while chunk := await response.read():
            read += len(chunk)
        assert read == size
        assert await ask_whole(pool) == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_a_large_body_takes_little_memory() -> None:
    async with serving(sending(1_600 * len(_PIECE), [])) as server, pooled(server.url) as pool:
        response = await ask(pool)
        tracemalloc.start()
        try:
            async for _ in response.stream():
                await asyncio.sleep(0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 5_000_000


@on_each_loop
async def test_closing_early_ends_the_connection() -> None:
    sent: list[int] = []
    async with serving(sending(10_000 * len(_PIECE), sent)) as server, pooled(server.url) as pool:
        response = await ask(pool)
        await response.read()
        response.close()
        assert pool.busy == 0
        await eventually(server.writers[0].transport.is_closing)


@on_each_loop
async def test_the_clock_runs_again_once_the_body_is_taken_again() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * HIGH_WATER))
        writer.write(b"x" * 2 * HIGH_WATER)
        await reader.read()

    async with serving(converse) as server, pooled(server.url, between_bytes_timeout=0.1) as pool:
        response = await ask(pool)
        await eventually(lambda: response.unread > HIGH_WATER)
        await asyncio.sleep(0.2)
        with pytest.raises(BetweenBytesTimedOut):
            while await response.read():
                pass


@on_each_loop
async def test_a_body_that_is_whole_while_reading_has_stopped() -> None:
    body = b"x" * (HIGH_WATER + 50_000)
    async with (
        answering([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]) as server,
        pooled(server.url) as pool,
    ):
        for _ in range(3):
            response = await ask(pool)
            await asyncio.sleep(0.05)
            assert b"".join([chunk async for chunk in response.stream()]) == body
    assert server.connections == 1


@on_each_loop
async def test_an_early_answer_to_a_request_that_is_not_taken() -> None:
    """RFC 9112, section 9.3: a server may answer, say with 413, and leave the rest of the request unread."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(5)

    async with serving(converse) as server, pooled(server.url) as pool:
        response = await pool.post(LINES, b"x" * 30_000_000)
        assert (response.status, await response.read()) == (413, b"no")
        assert (pool.busy, pool.idle) == (0, 0)
