"""Every wait has a timeout, and each timeout raises its own error."""

import asyncio
import socket

import pytest

from app.http_client import (
    BetweenBytesTimeout,
    ConnectError,
    ConnectTimeout,
    FirstByteTimeout,
    HttpTimeout,
    IncompleteResponse,
    NoResponse,
    PoolExhausted,
    TotalTimeout,
)
from tests.http_client.support import (
    OK,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    serve,
    serve_responses,
)

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def test_a_timeout_error_says_whether_the_request_may_have_been_processed() -> None:
    assert issubclass(ConnectTimeout, ConnectError)
    assert issubclass(FirstByteTimeout, NoResponse)
    assert issubclass(BetweenBytesTimeout, IncompleteResponse)
    assert issubclass(TotalTimeout, IncompleteResponse)


@on_each_loop
async def test_no_response_at_all() -> None:
    async with serve(_silent) as server, open_pool(server.url, first_byte_timeout=0.1) as pool:
        began = asyncio.get_running_loop().time()
        with pytest.raises(FirstByteTimeout):
            await post(pool)
        assert 0.1 <= asyncio.get_running_loop().time() - began < 1
        assert pool.busy == 0


@on_each_loop
async def test_a_response_that_stops_arriving() -> None:
    for start in (b"HTTP/1.1 200", _CHUNKED + b"3\r\nok"):
        async with serve_responses(start) as server, open_pool(server.url, between_bytes_timeout=0.1) as pool:
            with pytest.raises(BetweenBytesTimeout):
                await post_and_read(pool)
            assert pool.busy == 0


@on_each_loop
async def test_a_slow_response_is_limited_by_the_total_timeout_only() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_CHUNKED)
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        serve(handler) as server,
        open_pool(server.url, first_byte_timeout=0.1, between_bytes_timeout=0.1, total_timeout=0.4) as pool,
    ):
        response = await post(pool)
        received = b""
        with pytest.raises(TotalTimeout):
            while True:
                received += await response.read()
        assert len(received) > 5


@on_each_loop
async def test_the_total_timeout_may_expire_before_the_first_byte() -> None:
    async with serve(_silent) as server, open_pool(server.url, total_timeout=0.05) as pool:
        with pytest.raises(FirstByteTimeout):
            await post(pool)


@on_each_loop
async def test_a_blocked_event_loop_causes_no_timeout() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        stop = asyncio.get_running_loop().time() + 0.3
        while asyncio.get_running_loop().time() < stop:
            pass
        await reader.read()

    async with serve(handler) as server, open_pool(server.url, first_byte_timeout=0.1) as pool:
        assert await post_and_read(pool) == b"ok"


@on_each_loop
async def test_a_connection_that_is_never_accepted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as filler, socket.socket() as another:
            # Linux accepts one connection more than the backlog, and leaves further attempts without an answer.
            for client in (filler, another):
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            async with open_pool(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.1) as pool:
                with pytest.raises(ConnectTimeout):
                    await post(pool)
                assert pool.busy == 0


@on_each_loop
async def test_waiting_in_the_queue_is_limited() -> None:
    async with serve(_silent) as server, open_pool(server.url, max_connections=1, queue_timeout=0.05) as pool:
        first = asyncio.ensure_future(post(pool))
        await asyncio.sleep(0.02)
        with pytest.raises(PoolExhausted) as caught:
            await post(pool)
        assert not isinstance(caught.value, HttpTimeout)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
