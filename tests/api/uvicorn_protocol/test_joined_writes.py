"""The head of a response is written together with the start of its body, and clients notice no difference."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.api.uvicorn_protocol import JoinedWriteTransport
from tests.support.broker import Broker

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Recorder(asyncio.Transport):
    """A transport that records what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_a_head_and_a_small_body_are_one_write(recorder: Recorder) -> None:
    transport = JoinedWriteTransport(recorder)
    for data in (b"head", b"body", b"more"):
        transport.write(data)
    assert recorder.writes == [b"headbody", b"more"]


def test_a_large_body_is_not_copied(recorder: Recorder) -> None:
    transport = JoinedWriteTransport(recorder)
    transport.write(b"head")
    transport.write(b"x" * 100_000)
    assert recorder.writes == [b"head", b"x" * 100_000]


def test_closing_writes_a_delayed_head(recorder: Recorder) -> None:
    transport = JoinedWriteTransport(recorder)
    transport.write(b"head")
    assert not transport.is_closing()
    transport.close()
    assert recorder.writes == [b"head"]
    assert transport.is_closing()


@asynccontextmanager
async def connected(broker: Broker) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(*broker.host)
    try:
        yield reader, writer
    finally:
        writer.close()


async def request_on(connection: Connection, request: str, *, has_body: bool = True) -> tuple[bytes, bytes]:
    """Send a request and return the head and the body of the response."""
    reader, writer = connection
    writer.write(request.replace("\n", "\r\n").encode())
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return head, await reader.readexactly(length) if has_body else b""


async def test_several_requests_on_one_connection(broker: Broker) -> None:
    async with connected(broker) as connection:
        for _ in range(3):
            head, body = await request_on(connection, "GET /healthz HTTP/1.1\nHost: b\n\n")
            assert (head.partition(b"\r\n")[0], body) == (b"http/1.1 200 ok", b'{"status":"ok"}')


async def test_a_response_to_head_is_not_delayed(broker: Broker) -> None:
    async with connected(broker) as connection:
        head, _ = await request_on(connection, "HEAD /healthz HTTP/1.1\nHost: b\n\n", has_body=False)
        assert b"content-length" in head
        assert (await request_on(connection, "GET /healthz HTTP/1.1\nHost: b\n\n"))[1] == b'{"status":"ok"}'


async def test_an_interim_response_to_expect_continue_is_not_delayed(broker: Broker) -> None:
    async with connected(broker) as (reader, writer):
        writer.write(
            b"POST /v1/sessions HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        async with asyncio.timeout(20):
            first = await reader.readuntil(b"\r\n\r\n")
            if first.startswith(b"HTTP/1.1 100"):
                writer.write(b"{}")
                first = await reader.readuntil(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 401")


async def test_pipelined_requests_are_answered_in_order(broker: Broker) -> None:
    async with connected(broker) as connection:
        pipelined = "GET /healthz HTTP/1.1\nHost: b\n\nGET /nowhere HTTP/1.1\nHost: b\nConnection: close\n\n"
        assert (await request_on(connection, pipelined))[0].startswith(b"http/1.1 200")
        async with asyncio.timeout(20):
            assert (await connection[0].read()).startswith(b"HTTP/1.1 404")
