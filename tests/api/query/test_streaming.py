"""Answers under way: nothing is held back, nothing piles up, and no more are under way than are allowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal
from tests.support.broker import Api
from tests.support.eventually import eventually
from tests.support.upstream import Answer, answering, chunk, reply

PATIENCE = 20
_PART = b'\r\n---\r\nContent-Type: application/json\r\n\r\n{"data":{"a":1},"hasNext":true}\r\n---'
_LAST = b'\r\nContent-Type: application/json\r\n\r\n{"hasNext":false}\r\n-----\r\n'
Serve = Callable[..., AbstractAsyncContextManager[tuple[Api, str]]]


@pytest.fixture
def serve(brokers: BrokerFactory, sign_up: ApiFactory) -> Serve:
    """Run a bank that answers so, and a broker before it; gives a caller and the path of its queries."""

    @asynccontextmanager
    async def run(answer: Answer, **settings: Any) -> AsyncIterator[tuple[Api, str]]:
        async with answering(answer) as url:
            broker = await brokers(stitch_graphql_url=url, **settings)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            yield api, f"/v1/connections/{connection.id}/graphql"

    return run


async def test_an_incremental_answer_is_passed_on_part_by_part(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=-; deferSpec=20220824\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(_PART)
        )
        await go_on.wait()
        writer.write(chunk(_LAST) + chunk(b""))

    async with serve(answer) as (api, path), asyncio.timeout(PATIENCE):
        headers = {"accept": "multipart/mixed; deferSpec=20220824, application/json"}
        async with api.stream("POST", path, json={"query": "{ a }"}, headers=headers) as streamed:
            assert streamed.headers["content-type"].startswith("multipart/mixed")
            pieces = streamed.aiter_raw()
            received = b""
            while len(received) < len(_PART):
                received += await anext(pieces)
            assert received == _PART
            go_on.set()
            assert b"".join([piece async for piece in pieces]) == _LAST


@pytest.mark.parametrize("length", [b"Content-Length: 7", b"Transfer-Encoding: chunked"])
async def test_the_head_does_not_wait_for_the_body(serve: Serve, length: bytes) -> None:
    go_on = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + length + b"\r\n\r\n")
        await go_on.wait()
        writer.write(b"at last" if b"Length" in length else chunk(b"at last") + chunk(b""))

    async with (
        serve(answer) as (api, path),
        asyncio.timeout(PATIENCE),
        api.stream("POST", path, json={"query": "{ a }"}) as streamed,
    ):
        assert streamed.status_code == 200
        go_on.set()
        assert await streamed.aread() == b"at last"


async def test_the_bank_waits_for_a_caller_that_does_not_read(serve: Serve) -> None:
    size, piece = 64 * 1_048_576, b"x" * 65_536
    written = 0
    has_ended = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(piece)
            await writer.drain()
            written += len(piece)
        has_ended.set()

    async with serve(answer) as (api, path), asyncio.timeout(PATIENCE):
        async with api.stream("POST", path, json={"query": "{ a }"}) as streamed:
            seen = -1

            async def stands_still() -> bool:
                nonlocal seen
                before, seen = seen, written
                await asyncio.sleep(0.1)
                return before == seen > 0

            await eventually(stands_still)
            # What sockets and buffers between the two take, however large the answer.
            assert written < size / 2
            assert not has_ended.is_set()
            received = 0
            async for one in streamed.aiter_raw():
                received += len(one)
        assert received == size


async def test_no_more_queries_are_under_way_than_allowed_and_few_wait(serve: Serve) -> None:
    go_on = asyncio.Event()
    under_way = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        await go_on.wait()
        under_way -= 1
        writer.write(reply(b'{"data":{}}').data)

    async with serve(answer, query_concurrency=1) as (api, path), asyncio.timeout(PATIENCE):

        async def ask() -> httpx.Response:
            return await api.post(path, json={"query": "{ a }"})

        async def one_is_under_way() -> bool:
            return under_way == 1

        asked = [asyncio.create_task(ask())]
        await eventually(one_is_under_way)
        # One more waits; whoever comes then is turned away at once.
        asked += [asyncio.create_task(ask()) for _ in range(2)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        [refused] = [task.result() for task in done]
        assert assert_graphql_refusal(refused, 503, "BROKER_UNAVAILABLE")["reason"] == "too_many_queries"
        assert int(refused.headers["retry-after"]) >= 1
        assert under_way == 1
        go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_queries_go_by_the_proxy_that_the_environment_names(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    targets = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        targets.append(head.split()[1])
        writer.write(reply(b'{"data":{"by":"proxy"}}').data)
        await writer.drain()
        writer.close()

    async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        raise AssertionError("nobody asks the bank itself")

    listening = await asyncio.start_server(forward, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    try:
        async with serve(never) as (api, path):
            monkeypatch.delenv("http_proxy")
            assert (await api.post(path, json={"query": "{ a }"})).json() == {"data": {"by": "proxy"}}
    finally:
        listening.close()
    assert targets[0].startswith(b"http://127.0.0.1:")
    assert targets[0].endswith(b"/graphql")
