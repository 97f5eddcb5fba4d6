"""A caller may be cancelled at any time, and its slot goes to the next request."""

import asyncio

import pytest

from tests.http_client.support import (
    OK,
    gather_results,
    on_each_loop,
    open_pool,
    post_and_read,
    read_request,
    respond_when_set,
    serve,
    serve_responses,
    start_post,
    wait_until,
)


@on_each_loop
async def test_a_cancelled_request_closes_its_connection_and_frees_its_slot() -> None:
    gate = asyncio.Event()
    async with serve(respond_when_set(gate)) as server, open_pool(server.url, max_connections=1) as pool:
        first, second = start_post(pool), start_post(pool)
        await wait_until(lambda: server.connections == 1)
        first.cancel()
        gate.set()
        assert await second == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_a_request_cancelled_while_its_connection_is_being_opened() -> None:
    async with serve_responses(OK) as server, open_pool(server.url, max_connections=1) as pool:
        first, second = start_post(pool), start_post(pool)
        await asyncio.sleep(0)
        assert (pool.busy, pool.waiting) == (1, 1)
        first.cancel()
        assert await second == b"ok"
        assert pool.idle == 1


@on_each_loop
async def test_a_request_cancelled_in_the_queue() -> None:
    gate = asyncio.Event()
    async with serve(respond_when_set(gate)) as server, open_pool(server.url, max_connections=1) as pool:
        tasks = [start_post(pool) for _ in range(3)]
        await wait_until(lambda: server.connections == 1)
        tasks[1].cancel()
        await asyncio.sleep(0)
        assert pool.waiting == 1
        gate.set()
        results = await gather_results(*tasks)
        assert isinstance(results[1], asyncio.CancelledError)
        assert [results[0], results[2]] == [b"ok", b"ok"]
    assert server.connections == 1


@pytest.mark.parametrize("keep_alive", [True, False])
@on_each_loop
async def test_a_request_cancelled_after_it_was_given_a_connection_passes_it_on(*, keep_alive: bool) -> None:
    """It is given the connection of the first request, or its slot if that connection was closed."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK if keep_alive else OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async def cancel_second() -> None:
        await post_and_read(pool)
        # The second request has just been given the connection or the slot, and has not run since.
        assert pool.waiting == 1
        second.cancel()

    gate = asyncio.Event()
    async with serve(handler) as server, open_pool(server.url, max_connections=1) as pool:
        first = asyncio.ensure_future(cancel_second())
        await asyncio.sleep(0)
        second, third = start_post(pool), start_post(pool)
        await wait_until(lambda: server.connections == 1)
        gate.set()
        await first
        assert await third == b"ok"
        assert isinstance((await gather_results(second))[0], asyncio.CancelledError)
        assert (pool.busy, pool.idle) == (0, int(keep_alive))
    assert server.connections == (1 if keep_alive else 2)
