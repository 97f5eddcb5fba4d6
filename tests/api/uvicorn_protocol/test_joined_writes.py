"""What clients see of the server's protocol: whatever is held back comes out in the right place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.api.uvicorn_protocol import JoinedWriteTransport
from tests.support.broker import Broker

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Recorder(asyncio.Transport):
    """A transport that keeps what it is given."""

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


def test_closing_loses_nothing(recorder: Recorder) -> None:
    transport = JoinedWriteTransport(recorder)
    transport.write(b"head")
    assert not transport.is_closing()
    transport.close()
    assert recorder.writes == [b"head"]
    assert transport.is_closing()


@asynccontextmanager
async def connected(broker: Broker) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(*broker.host)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_on(wire: Wire, request: str, *, has_body: bool = True) -> tuple[bytes, bytes]:
    """Send a request and return the head and the body of its answer."""
    reader, writer = wire
    writer.write(request.replace("\n", "\r\n").encode())
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return head, await reader.readexactly(length) if has_body else b""


async def test_answers_on_one_connection_follow_each_other(broker: Broker) -> None:
    async with connected(broker) as wire:
        for _ in range(3):
            head, body = await answer_on(wire, "GET /healthz HTTP/1.1\nHost: b\n\n")
            assert (head.partition(b"\r\n")[0], body) == (b"http/1.1 200 ok", b'{"status":"ok"}')


async def test_an_answer_to_head_is_not_held_back_for_a_body_that_never_comes(broker: Broker) -> None:
    async with connected(broker) as wire:
        head, _ = await answer_on(wire, "HEAD /healthz HTTP/1.1\nHost: b\n\n", has_body=False)
        assert b"content-length" in head
        assert (await answer_on(wire, "GET /healthz HTTP/1.1\nHost: b\n\n"))[1] == b'{"status":"ok"}'


async def test_whoever_waits_to_continue_is_told_so(broker: Broker) -> None:
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


async def test_requests_that_come_together_are_answered_in_turn(broker: Broker) -> None:
    async with connected(broker) as wire:
        both = "GET /healthz HTTP/1.1\nHost: b\n\nGET /nowhere HTTP/1.1\nHost: b\nConnection: close\n\n"
        assert (await answer_on(wire, both))[0].startswith(b"http/1.1 200")
        async with asyncio.timeout(20):
            assert (await wire[0].read()).startswith(b"HTTP/1.1 404")
