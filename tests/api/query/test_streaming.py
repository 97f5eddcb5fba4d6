"""Responses are streamed without delay and without filling the memory, and concurrent queries are limited."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_graphql_error
from tests.support.eventually import eventually
from tests.support.logs import Logs
from tests.support.upstream import Answer, answering, chunk, reply

TIMEOUT_SECONDS = 20
_PART = b'\r\n---\r\nContent-Type: application/json\r\n\r\n{"data":{"a":1},"hasNext":true}\r\n---'
_LAST = b'\r\nContent-Type: application/json\r\n\r\n{"hasNext":false}\r\n-----\r\n'
Serve = Callable[..., AbstractAsyncContextManager[tuple[Api, str]]]


class ScriptedBank:
    """A bank whose response the current test writes."""

    def __init__(self) -> None:
        self.respond: Answer

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.respond(reader, writer)


@pytest.fixture(scope="module")
async def scripted(module_brokers: BrokerFactory) -> AsyncIterator[tuple[ScriptedBank, Broker]]:
    """A scripted bank, and a broker that sends its queries there."""
    bank = ScriptedBank()
    async with answering(bank.handle) as url:
        yield bank, await module_brokers(stitch_graphql_url=url)


@pytest.fixture
def serve(scripted: tuple[ScriptedBank, Broker], brokers: BrokerFactory, sign_up: ApiFactory) -> Serve:
    """Lets the bank respond with this handler. Yields a caller and the path of its queries.

    `settings` are those of a broker of its own.
    """

    @asynccontextmanager
    async def run(respond: Answer, **settings: Any) -> AsyncIterator[tuple[Api, str]]:
        async with AsyncExitStack() as stack:
            bank, broker = scripted
            bank.respond = respond
            if settings:
                url = await stack.enter_async_context(answering(respond))
                broker = await brokers(stitch_graphql_url=url, **settings)
            api = await sign_up(broker=broker)
            connection = await broker.rows.insert(tenant=api.tenant)
            yield api, f"/v1/connections/{connection.id}/graphql"

    return run


async def test_an_incremental_response_is_forwarded_part_by_part(serve: Serve) -> None:
    may_continue = asyncio.Event()

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=-; deferSpec=20220824\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(_PART)
        )
        await may_continue.wait()
        writer.write(chunk(_LAST) + chunk(b""))

    async with serve(respond) as (api, path), asyncio.timeout(TIMEOUT_SECONDS):
        headers = {"accept": "multipart/mixed; deferSpec=20220824, application/json"}
        async with api.stream("POST", path, json={"query": "{ a }"}, headers=headers) as streamed:
            assert streamed.headers["content-type"].startswith("multipart/mixed")
            chunks = streamed.aiter_raw()
            received = b""
            while len(received) < len(_PART):
                received += await anext(chunks)
            assert received == _PART
            may_continue.set()
            assert b"".join([data async for data in chunks]) == _LAST


@pytest.mark.parametrize("length", [b"Content-Length: 7", b"Transfer-Encoding: chunked"])
async def test_the_head_does_not_wait_for_the_body(serve: Serve, length: bytes) -> None:
    may_continue = asyncio.Event()

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + length + b"\r\n\r\n")
        await may_continue.wait()
        writer.write(b"at last" if b"Length" in length else chunk(b"at last") + chunk(b""))

    async with (
        serve(respond) as (api, path),
        asyncio.timeout(TIMEOUT_SECONDS),
        api.stream("POST", path, json={"query": "{ a }"}) as streamed,
    ):
        assert streamed.status_code == 200
        may_continue.set()
        assert await streamed.aread() == b"at last"


async def test_the_bank_waits_for_a_caller_that_does_not_read(serve: Serve) -> None:
    size, data = 64 * 1_048_576, b"x" * 65_536
    written = 0
    has_ended = asyncio.Event()

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(data)
            await writer.drain()
            written += len(data)
        has_ended.set()

    async with serve(respond) as (api, path), asyncio.timeout(TIMEOUT_SECONDS):
        async with api.stream("POST", path, json={"query": "{ a }"}) as streamed:
            seen = -1

            async def has_stopped() -> bool:
                nonlocal seen
                before, seen = seen, written
                await asyncio.sleep(0.1)
                return before == seen > 0

            await eventually(has_stopped)
            # Only as much as sockets and buffers can take, however large the response is.
            assert written < size / 2
            assert not has_ended.is_set()
            received = 0
            async for part in streamed.aiter_raw():
                received += len(part)
        assert received == size


async def test_concurrent_and_waiting_queries_are_limited(serve: Serve) -> None:
    may_continue = asyncio.Event()
    in_progress = 0

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal in_progress
        in_progress += 1
        await may_continue.wait()
        in_progress -= 1
        writer.write(reply(b'{"data":{}}').data)

    async with serve(respond, query_concurrency=1) as (api, path), asyncio.timeout(TIMEOUT_SECONDS):

        async def ask() -> httpx.Response:
            return await api.post(path, json={"query": "{ a }"})

        async def one_is_in_progress() -> bool:
            return in_progress == 1

        requests = [asyncio.create_task(ask())]
        await eventually(one_is_in_progress)
        # One more waits. The next one is rejected at once.
        requests += [asyncio.create_task(ask()) for _ in range(2)]
        done, waiting = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        [refused] = [task.result() for task in done]
        assert assert_graphql_error(refused, 503, "BROKER_UNAVAILABLE")["reason"] == "too_many_queries"
        assert int(refused.headers["retry-after"]) >= 1
        assert in_progress == 1
        may_continue.set()
        assert [response.status_code for response in await asyncio.gather(*waiting)] == [200, 200]


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_queries_use_the_proxy_of_the_environment(
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
        raise AssertionError("the query bypassed the proxy")

    listening = await asyncio.start_server(forward, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    try:
        async with serve(never, query_concurrency=2) as (api, path):
            monkeypatch.delenv("http_proxy")
            assert (await api.post(path, json={"query": "{ a }"})).json() == {"data": {"by": "proxy"}}
    finally:
        listening.close()
    assert targets[0].startswith(b"http://127.0.0.1:")
    assert targets[0].endswith(b"/graphql")


async def query_raw(api: Api, connection_id: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Send a query, and return the response and its body before decoding."""
    request = {"json": {"query": "{ user { id } }"}, "headers": headers}
    async with api.stream("POST", f"/v1/connections/{connection_id}/graphql", **request) as response:  # type: ignore[arg-type]
        return response, b"".join([chunk async for chunk in response.aiter_raw()])


class TestStream:
    async def test_a_response_is_forwarded_while_it_arrives(self, serve: Serve) -> None:
        may_continue = asyncio.Event()

        async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(chunk(b'{"data":"' + b"x" * 8_000))
            await writer.drain()
            await may_continue.wait()
            writer.write(chunk(b'y"}') + chunk(b""))

        async with serve(respond) as (api, path), api.stream("POST", path, json={"query": "{ a }"}) as streamed:
            chunks = streamed.aiter_raw()
            received = bytearray()
            while len(received) < 8_009:
                received += await anext(chunks)
            may_continue.set()
            async for data in chunks:
                received += data
        assert bytes(received) == b'{"data":"' + b"x" * 8_000 + b'y"}'

    async def test_a_large_response_arrives_complete(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        size = 20_000_000
        await bank.set_faults(graphql={"huge": size})
        response, received = await query_raw(api, connection_id, **{"accept-encoding": "identity"})
        assert response.headers["content-length"] == str(size)
        assert len(received) == size
        assert received.startswith(b'{"data":{"filling":"xxx')
        assert received.endswith(b'x"}}')

    async def test_an_interrupted_response_is_interrupted_for_the_caller_too(self, serve: Serve, logs: Logs) -> None:
        async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(chunk(b'{"data":"' + b"x" * 8_000))
            await writer.drain()

        async with serve(respond) as (api, path):
            with pytest.raises(httpx.RemoteProtocolError):
                await api.post(path, json={"query": "{ a }"})
        [line] = logs.with_event("response_interrupted")
        assert line["code"] == "bank_answer_broken"

    async def test_the_response_of_the_bank_is_cancelled_when_the_caller_disconnects(self, serve: Serve) -> None:
        ended = asyncio.Event()

        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            try:
                while not reader.at_eof():
                    writer.write(chunk(b"x" * 65_536))
                    await writer.drain()
                    await asyncio.sleep(0)
            finally:
                ended.set()

        async with serve(respond) as (api, path):
            async with api.stream("POST", path, json={"query": "{ a }"}) as streamed:
                await anext(streamed.aiter_raw())
            await asyncio.wait_for(ended.wait(), 20)

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], ids=["none", "some"])
    async def test_the_connection_to_a_silent_bank_is_closed_when_the_caller_disconnects(
        self, serve: Serve, logs: Logs, start: bytes
    ) -> None:
        received, ended = asyncio.Event(), asyncio.Event()

        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(start)
            received.set()
            while await reader.read(65_536):
                pass
            ended.set()

        async with serve(respond) as (api, path):
            query = asyncio.create_task(api.post(path, json={"query": "{ a }"}))
            await received.wait()
            # Long enough for the broker to watch the caller's connection.
            await asyncio.sleep(0.2)
            query.cancel()
            await asyncio.gather(query, return_exceptions=True)
            await asyncio.wait_for(ended.wait(), 20)
            assert (await api.get("/healthz")).status_code == 200
        assert not [line for line in logs.lines if line.get("level") == "error"]
