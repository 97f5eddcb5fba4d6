"""Large bodies take little memory, and slow or departed callers are handled."""

import asyncio
import tracemalloc

import pytest

from app.http_client import BetweenBytesTimeout
from app.http_client.connection import HIGH_WATER_MARK
from tests.http_client.support import (
    LINES,
    OK,
    Handler,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    serve,
    serve_responses,
    wait_until,
)

_PIECE = b"x" * 65_536


def send_bytes(size: int, sent: list[int]) -> Handler:
    """Respond with `size` bytes, recording what was sent; then with OK."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    return handler


@on_each_loop
async def test_reading_pauses_while_the_body_is_not_taken() -> None:
    sent: list[int] = []
    size = 1_000 * len(_PIECE)
    async with serve(send_bytes(size, sent)) as server, open_pool(server.url, between_bytes_timeout=0.05) as pool:
        response = await post(pool)
        await asyncio.sleep(0.2)
        # The rest stays in the network. A caller that reads slowly must not cause a timeout of the origin.
        assert HIGH_WATER_MARK < response.unread_bytes <= 3 * HIGH_WATER_MARK
        assert sum(sent) < size // 2
        received = 0
        while chunk := await response.read():
            received += len(chunk)
        assert received == size
        assert await post_and_read(pool) == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_a_large_body_takes_little_memory() -> None:
    async with serve(send_bytes(1_600 * len(_PIECE), [])) as server, open_pool(server.url) as pool:
        response = await post(pool)
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
    async with serve(send_bytes(10_000 * len(_PIECE), sent)) as server, open_pool(server.url) as pool:
        response = await post(pool)
        await response.read()
        response.close()
        assert pool.busy == 0
        await wait_until(server.writers[0].transport.is_closing)


@on_each_loop
async def test_the_between_bytes_timeout_resumes_once_the_body_is_taken() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * HIGH_WATER_MARK))
        writer.write(b"x" * 2 * HIGH_WATER_MARK)
        await reader.read()

    async with serve(handler) as server, open_pool(server.url, between_bytes_timeout=0.1) as pool:
        response = await post(pool)
        await wait_until(lambda: response.unread_bytes > HIGH_WATER_MARK)
        await asyncio.sleep(0.2)
        with pytest.raises(BetweenBytesTimeout):
            while await response.read():
                pass


@on_each_loop
async def test_a_body_that_completes_while_reading_is_paused() -> None:
    body = b"x" * (HIGH_WATER_MARK + 50_000)
    async with (
        serve_responses([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]) as server,
        open_pool(server.url) as pool,
    ):
        for _ in range(3):
            response = await post(pool)
            await asyncio.sleep(0.05)
            assert b"".join([chunk async for chunk in response.stream()]) == body
    assert server.connections == 1


@on_each_loop
async def test_an_early_response_to_a_request_that_is_not_read() -> None:
    """RFC 9112, section 9.3: a server may respond, for example with 413, without reading the rest of the request."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(5)

    async with serve(handler) as server, open_pool(server.url) as pool:
        response = await pool.post(LINES, b"x" * 30_000_000)
        assert (response.status, await response.read()) == (413, b"no")
        assert (pool.busy, pool.idle) == (0, 0)
