"""Servers that say exactly what a test wants, and a loop of its own for each test: asyncio's, and uvloop's."""

import asyncio
import contextlib
import functools
import inspect
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from app.http_client import OriginPool, WireResponse, header_lines

LINES = (header_lines([(b"content-type", b"application/json"), (b"authorization", b"Bearer secret")]),)
BODY = b'{"query":"{ user { id } }"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test to its end on a fresh loop of either kind, and see that it leaves no task behind."""

    @functools.wraps(test)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        async def alone() -> None:
            await asyncio.wait_for(test(**arguments), 20)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(alone())

    signature = inspect.signature(test)
    first = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[first, *signature.parameters.values()])  # type: ignore[attr-defined]
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    on_each: Callable[..., None] = pytest.mark.parametrize("new_loop", loops, ids=["asyncio", "uvloop"])(run)
    return on_each


@dataclass
class Server:
    """A server on this machine."""

    url: str
    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def serving(converse: Conversation, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve, having one conversation with each connection, which ends with it."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.connections += 1
        server.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await converse(reader, writer)
        running.discard(task)
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server = Server(f"https://localhost:{port}/graphql?v=1" if tls else f"http://127.0.0.1:{port}/graphql?v=1", port)
    try:
        yield server
    finally:
        listener.close()
        for task in running:
            task.cancel()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def answering(
    *answers: bytes | Sequence[bytes], then_close: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Give each request of a connection the next answer, in pieces where it is a sequence; the last one for ever."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        while True:
            server.requests.append(await read_request(reader))
            answer = left.pop(0) if len(left) > 1 else left[0]
            await write_pieces(writer, [answer] if isinstance(answer, bytes) else answer)
            if then_close:
                return

    async with serving(converse, tls=tls) as server:
        yield server


async def write_pieces(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Write so that each piece has been read before the next one comes: the reader is on this loop."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if len(pieces) > 1:
            for _ in range(3):
                await asyncio.sleep(0)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request and return it whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


@asynccontextmanager
async def pooled(url: str, **options: Any) -> AsyncIterator[OriginPool]:
    """Open a pool with plenty of time, unless `options` say otherwise, and a fast clock."""
    defaults: dict[str, Any] = {
        "max_connections": 10,
        "queue_length": 10,
        "queue_timeout": 10,
        "connect_timeout": 10,
        "first_byte_timeout": 10,
        "between_bytes_timeout": 10,
        "whole_timeout": 10,
        "keep_alive_seconds": 10,
        "sweep_seconds": 0.01,
    }
    pool = OriginPool(url, **{**defaults, **options})
    try:
        yield pool
    finally:
        await pool.close()
        assert (pool.busy, pool.idle, pool.waiting) == (0, 0, 0)


async def ask(pool: OriginPool) -> WireResponse:
    """Send the usual request."""
    return await pool.post(LINES, BODY)


async def ask_whole(pool: OriginPool) -> bytes:
    """Send the usual request and return the whole body."""
    response = await ask(pool)
    try:
        return b"".join([chunk async for chunk in response.stream()])
    finally:
        response.close()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- what is waited for is a server's or a pool's state
            await asyncio.sleep(0.001)


def asking(pool: OriginPool) -> "asyncio.Task[bytes]":
    """Send the usual request beside what else goes on."""
    return asyncio.ensure_future(ask_whole(pool))


async def all_outcomes(*tasks: "asyncio.Task[bytes]") -> list[bytes | BaseException]:
    """Wait for requests, however they end."""
    return await asyncio.gather(*tasks, return_exceptions=True)


def gated(gate: asyncio.Event) -> Conversation:
    """Answer while the gate is open."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK)

    return converse
