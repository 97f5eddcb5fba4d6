"""Which connection a request gets, and when it has to wait for one."""

import asyncio
import random

import pytest

from app.http_client import ConnectError, HttpClientError, PoolExhausted
from tests.http_client.support import (
    OK,
    gather_results,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    respond_when_set,
    serve,
    serve_responses,
    start_post,
    wait_until,
)


@on_each_loop
async def test_a_connection_is_reused() -> None:
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        for _ in range(5):
            assert await post_and_read(pool) == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_the_most_recently_used_connection_is_reused_first() -> None:
    ports: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            ports.append(writer.get_extra_info("peername")[1])
            await gate.wait()
            writer.write(OK)

    gate = asyncio.Event()
    async with serve(handler) as server, open_pool(server.url) as pool:
        first = [start_post(pool) for _ in range(3)]
        await wait_until(lambda: len(ports) == 3)
        gate.set()
        await gather_results(*first)
        for _ in range(3):
            await post_and_read(pool)
    assert len(set(ports[:3])) == 3
    assert len(set(ports[3:])) == 1


@on_each_loop
async def test_connections_are_limited_and_waiting_requests_are_served_in_order() -> None:
    order: list[int] = []

    async def post_as(number: int) -> None:
        await post_and_read(pool)
        order.append(number)

    gate = asyncio.Event()
    async with (
        serve(respond_when_set(gate)) as server,
        open_pool(server.url, max_connections=2, queue_length=4) as pool,
    ):
        requests = [asyncio.ensure_future(post_as(number)) for number in range(6)]
        await wait_until(lambda: server.connections == 2)
        assert (pool.busy, pool.waiting) == (2, 4)
        with pytest.raises(PoolExhausted):
            await post(pool)
        gate.set()
        await asyncio.gather(*requests)
        assert sorted(order[:2]) == [0, 1]
        assert order[2:] == [2, 3, 4, 5]
    assert server.connections == 2


@on_each_loop
async def test_a_waiting_request_opens_a_connection_when_another_is_closed() -> None:
    async with (
        serve_responses(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as server,
        open_pool(server.url, max_connections=1) as pool,
    ):
        assert await gather_results(*[start_post(pool) for _ in range(5)]) == [b"ok"] * 5
    assert server.connections == 5


@on_each_loop
async def test_every_waiting_request_fails_if_the_origin_refuses_connections() -> None:
    async with serve_responses(OK) as server:
        pass
    async with open_pool(server.url, max_connections=1) as pool:
        results = await gather_results(*[start_post(pool) for _ in range(4)])
        assert [type(result) for result in results] == [ConnectError] * 4


@on_each_loop
async def test_closing_an_incomplete_response_closes_its_connection() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK if server.connections > 1 else OK.replace(b": 2", b": 3"))
        await reader.read()

    async with serve(handler) as server, open_pool(server.url) as pool:
        response = await post(pool)
        response.close()
        response.close()
        assert (pool.busy, pool.idle) == (0, 0)
        assert await post_and_read(pool) == b"ok"
    assert server.connections == 2


@on_each_loop
async def test_closing_a_complete_response_late_does_not_affect_its_connection() -> None:
    gate = asyncio.Event()
    gate.set()
    async with serve(respond_when_set(gate)) as server, open_pool(server.url, max_connections=1) as pool:
        first = await post(pool)
        gate.clear()
        second = start_post(pool)
        await asyncio.sleep(0.02)
        first.close()
        gate.set()
        assert await second == b"ok"
    assert server.connections == 1


@on_each_loop
async def test_an_origin_that_closes_every_connection() -> None:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with serve(handler) as server, open_pool(server.url, max_connections=2) as pool:
        for _ in range(10):
            with pytest.raises(HttpClientError):
                await post(pool)
            assert pool.busy == 0


@on_each_loop
async def test_no_slot_is_lost_and_no_response_is_mixed_up_under_random_failures() -> None:
    """Requests are cancelled, responses break off, and connections are closed, all at random."""
    generator = random.Random(5)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            name = request.rpartition(b"\r\n\r\n")[2]
            await asyncio.sleep(generator.random() / 200)
            failure = generator.randrange(10)
            if failure == 0:
                return
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(name)
            writer.write(head + (b"Connection: close\r\n" if failure == 1 else b"") + b"\r\n")
            if failure == 2:
                await asyncio.sleep(0.002)
            extra = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray" if failure == 4 else b""
            writer.write(name[:3] if failure == 3 else name + extra)
            if failure in (1, 3):
                return

    async def post_number(number: int) -> bool:
        name = b"request %d" % number
        try:
            async with asyncio.timeout(generator.random() / 20 if number % 2 else None):
                response = await pool.post((), name)
                try:
                    assert b"".join([chunk async for chunk in response.stream()]) == name
                finally:
                    response.close()
        except (HttpClientError, TimeoutError):
            return False
        return True

    async with serve(handler) as server, open_pool(server.url, max_connections=5, queue_length=1000) as pool:
        succeeded = await asyncio.gather(*[post_number(number) for number in range(400)])
        assert pool.busy == 0
        assert pool.idle <= 5
        assert 100 < sum(succeeded) < 400
