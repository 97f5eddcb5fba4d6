"""Which connection a request gets, and how long it waits for one."""

import asyncio
import random

import pytest

from app.http_client import Congested, NotSent, WireError
from tests.http_client.support import (
    OK,
    all_outcomes,
    answering,
    ask,
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
async def test_a_connection_is_used_again() -> None:
    async with answering(OK) as server, pooled(server.url) as pool:
        for _ in range(5):
            assert await ask_whole(pool) == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_the_connection_used_last_is_used_first() -> None:
    ports: list[int] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            ports.append(writer.get_extra_info("peername")[1])
            await gate.wait()
            writer.write(OK)

    gate = asyncio.Event()
    async with serving(converse) as server, pooled(server.url) as pool:
        first = [asking(pool) for _ in range(3)]
        await eventually(lambda: len(ports) == 3)
        gate.set()
        await all_outcomes(*first)
        for _ in range(3):
            await ask_whole(pool)
    assert len(set(ports[:3])) == 3
    assert len(set(ports[3:])) == 1


@on_each_loop
async def test_no_more_connections_than_allowed_and_first_come_first_served() -> None:
    order: list[int] = []

    async def ask_as(number: int) -> None:
        await ask_whole(pool)
        order.append(number)

    gate = asyncio.Event()
    async with serving(gated(gate)) as server, pooled(server.url, max_connections=2, queue_length=4) as pool:
        asking = [asyncio.ensure_future(ask_as(number)) for number in range(6)]
        await eventually(lambda: server.connections == 2)
        assert (pool.busy, pool.waiting) == (2, 4)
        with pytest.raises(Congested):
            await ask(pool)
        gate.set()
        await asyncio.gather(*asking)
        assert sorted(order[:2]) == [0, 1]
        assert order[2:] == [2, 3, 4, 5]
    assert server.connections == 2


@on_each_loop
async def test_a_request_that_waits_opens_a_connection_where_one_was_closed() -> None:
    async with (
        answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as server,
        pooled(server.url, max_connections=1) as pool,
    ):
        assert await all_outcomes(*[asking(pool) for _ in range(5)]) == [b"ok"] * 5
    assert server.connections == 5


@on_each_loop
async def test_those_who_wait_are_told_one_by_one_that_nobody_is_there() -> None:
    async with answering(OK) as server:
        pass
    async with pooled(server.url, max_connections=1) as pool:
        outcomes = await all_outcomes(*[asking(pool) for _ in range(4)])
        assert [type(outcome) for outcome in outcomes] == [NotSent] * 4


@on_each_loop
async def test_an_answer_that_is_not_read_to_its_end_costs_the_connection() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK if server.connections > 1 else OK.replace(b": 2", b": 3"))
        await reader.read()

    async with serving(converse) as server, pooled(server.url) as pool:
        response = await ask(pool)
        response.close()
        response.close()
        assert (pool.busy, pool.idle) == (0, 0)
        assert await ask_whole(pool) == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_closing_a_whole_answer_late_does_not_touch_its_connection() -> None:
    gate = asyncio.Event()
    gate.set()
    async with serving(gated(gate)) as server, pooled(server.url, max_connections=1) as pool:
        first = await ask(pool)
        gate.clear()
        second = asking(pool)
        await asyncio.sleep(0.02)
        first.close()
        gate.set()
        assert await second == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_an_origin_that_hangs_up_on_whoever_comes() -> None:
    async def converse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with serving(converse) as server, pooled(server.url, max_connections=2) as pool:
        for _ in range(10):
            with pytest.raises(WireError):
                await ask(pool)
            assert pool.busy == 0


@on_each_loop
async def test_no_place_is_lost_and_no_answer_goes_astray_in_a_crowd() -> None:
    """Requests that are cancelled, answers that are broken off, connections that are closed: all at random."""
    chance = random.Random(5)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            name = request.rpartition(b"\r\n\r\n")[2]
            await asyncio.sleep(chance.random() / 200)
            kind = chance.randrange(10)
            if kind == 0:
                return
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(name)
            writer.write(head + (b"Connection: close\r\n" if kind == 1 else b"") + b"\r\n")
            if kind == 2:
                await asyncio.sleep(0.002)
            stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray" if kind == 4 else b""
            writer.write(name[:3] if kind == 3 else name + stray)
            if kind in (1, 3):
                return

    async def one(number: int) -> bool:
        name = b"request %d" % number
        try:
            async with asyncio.timeout(chance.random() / 20 if number % 2 else None):
                response = await pool.post((), name)
                try:
                    assert b"".join([chunk async for chunk in response.stream()]) == name
                finally:
                    response.close()
        except (WireError, TimeoutError):
            return False
        return True

    async with serving(converse) as server, pooled(server.url, max_connections=5, queue_length=1000) as pool:
        outcomes = await asyncio.gather(*[one(number) for number in range(400)])
        assert pool.busy == 0
        assert pool.idle <= 5
        assert 100 < sum(outcomes) < 400
