"""A caller may go away at any moment: its place is the next one's."""

import asyncio

import pytest

from tests.http_client.support import (
    OK,
    all_outcomes,
    answering,
    ask_whole,
    asking,
    eventually,
    gated,
    on_each_loop,
    pooled,
    read_request,
    serving,
)


@on_each_loop
async def test_a_cancelled_request_closes_its_connection_and_gives_its_place_up() -> None:
    gate = asyncio.Event()
    async with serving(gated(gate)) as server, pooled(server.url, max_connections=1) as pool:
        first, second = asking(pool), asking(pool)
        await eventually(lambda: server.connections == 1)
        first.cancel()
        gate.set()
        assert await second == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_a_request_cancelled_while_its_connection_is_being_opened() -> None:
    async with answering(OK) as server, pooled(server.url, max_connections=1) as pool:
        first, second = asking(pool), asking(pool)
        await asyncio.sleep(0)
        assert (pool.busy, pool.waiting) == (1, 1)
        first.cancel()
        assert await second == b"ok"
        assert pool.idle == 1


@on_each_loop
async def test_a_request_cancelled_in_the_queue() -> None:
    gate = asyncio.Event()
    async with serving(gated(gate)) as server, pooled(server.url, max_connections=1) as pool:
        tasks = [asking(pool) for _ in range(3)]
        await eventually(lambda: server.connections == 1)
        tasks[1].cancel()
        await asyncio.sleep(0)
        assert pool.waiting == 1
        gate.set()
        outcomes = await all_outcomes(*tasks)
        assert isinstance(outcomes[1], asyncio.CancelledError)
        assert [outcomes[0], outcomes[2]] == [b"ok", b"ok"]
    assert server.connections == 1


@pytest.mark.parametrize("stays", [True, False])
@on_each_loop
async def test_a_request_cancelled_when_its_turn_has_come_passes_it_on(*, stays: bool) -> None:
    """Its turn is the connection of the first one, or the right to open another."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK if stays else OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async def cancel_second() -> None:
        await ask_whole(pool)
        # The second request's turn has just come, and it has not run since.
        assert pool.waiting == 1
        second.cancel()

    gate = asyncio.Event()
    async with serving(converse) as server, pooled(server.url, max_connections=1) as pool:
        first = asyncio.ensure_future(cancel_second())
        await asyncio.sleep(0)
        second, third = asking(pool), asking(pool)
        await eventually(lambda: server.connections == 1)
        gate.set()
        await first
        assert await third == b"ok"
        assert isinstance((await all_outcomes(second))[0], asyncio.CancelledError)
        assert (pool.busy, pool.idle) == (0, int(stays))
    assert server.connections == (1 if stays else 2)
