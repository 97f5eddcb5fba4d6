"""Closing a pool."""

import asyncio

import pytest

from app.http_client import ConnectionPool, HttpClientError, IncompleteResponse, NoResponse, PoolClosed
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


@on_each_loop
async def test_a_closed_pool_accepts_no_requests() -> None:
    async with serve_responses(OK) as server:
        async with open_pool(server.url) as pool:
            await post_and_read(pool)
        with pytest.raises(PoolClosed):
            await post(pool)


@on_each_loop
async def test_closing_fails_requests_in_progress_and_in_the_queue() -> None:
    second_arrived = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if server.connections == 1:
            writer.write(_CHUNKED)
        else:
            second_arrived.set()
        await reader.read()

    async def error_of_post(pool: ConnectionPool) -> Exception:
        with pytest.raises(HttpClientError) as caught:
            await post_and_read(pool)
        return caught.value

    async with serve(handler) as server, open_pool(server.url, max_connections=2) as pool:
        started = await post(pool)
        sent = asyncio.ensure_future(error_of_post(pool))
        await second_arrived.wait()
        queued = asyncio.ensure_future(error_of_post(pool))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(IncompleteResponse):
            await started.read()
        assert type(await sent) is NoResponse
        assert type(await queued) is PoolClosed


@on_each_loop
async def test_closing_while_a_connection_is_being_opened() -> None:
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        request = asyncio.ensure_future(post(pool))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(PoolClosed):
            await request


@on_each_loop
async def test_closing_just_after_a_waiting_request_was_given_a_connection() -> None:
    async def post_and_close() -> None:
        await post_and_read(pool)
        await pool.close()

    async with serve_responses(OK) as server, open_pool(server.url, max_connections=1) as pool:
        first = asyncio.ensure_future(post_and_close())
        await asyncio.sleep(0)
        with pytest.raises(PoolClosed):
            await post(pool)
        await first
