"""Servers that send exactly the bytes of a test, and a decorator that runs a test on asyncio's and on uvloop's loop."""

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

from app.http_client import ConnectionPool, Response, header_lines

LINES = (header_lines([(b"content-type", b"application/json"), (b"authorization", b"Bearer secret")]),)
BODY = b'{"query":"{ user { id } }"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test once on a new loop of each kind, and check that it leaves no task running."""

    @functools.wraps(test)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        async def run_test() -> None:
            await asyncio.wait_for(test(**arguments), 20)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(run_test())

    signature = inspect.signature(test)
    new_loop_parameter = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[new_loop_parameter, *signature.parameters.values()])  # type: ignore[attr-defined]
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    on_each: Callable[..., None] = pytest.mark.parametrize("new_loop", loops, ids=["asyncio", "uvloop"])(run)
    return on_each


@dataclass
class Server:
    """A local server, and what it has received."""

    url: str
    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on localhost. `handler` is called for each connection, which is closed when it returns."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.connections += 1
        server.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
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
async def serve_responses(
    *responses: bytes | Sequence[bytes], then_close: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Send the next response to each request of a connection, and repeat the last one. A sequence is sent in pieces."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        remaining = list(responses)
        while True:
            server.requests.append(await read_request(reader))
            response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            await write_pieces(writer, [response] if isinstance(response, bytes) else response)
            if then_close:
                return

    async with serve(handler, tls=tls) as server:
        yield server


async def write_pieces(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Write each piece after the client, which runs in the same loop, has read the one before."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if len(pieces) > 1:
            for _ in range(3):
                await asyncio.sleep(0)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read and return one whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


@asynccontextmanager
async def open_pool(url: str, **options: Any) -> AsyncIterator[ConnectionPool]:
    """Open a pool with long timeouts and a fast clock, unless `options` say otherwise."""
    defaults: dict[str, Any] = {
        "max_connections": 10,
        "queue_length": 10,
        "queue_timeout": 10,
        "connect_timeout": 10,
        "first_byte_timeout": 10,
        "between_bytes_timeout": 10,
        "total_timeout": 10,
        "keep_alive_seconds": 10,
        "sweep_seconds": 0.01,
    }
    pool = ConnectionPool(url, **{**defaults, **options})
    try:
        yield pool
    finally:
        await pool.close()
        assert (pool.busy, pool.idle, pool.waiting) == (0, 0, 0)


async def post(pool: ConnectionPool) -> Response:
    """Send the standard request."""
    return await pool.post(LINES, BODY)


async def post_and_read(pool: ConnectionPool) -> bytes:
    """Send the standard request and return the whole body."""
    response = await post(pool)
    try:
        return b"".join([chunk async for chunk in response.stream()])
    finally:
        response.close()


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- the state of a server or a pool has no event
            await asyncio.sleep(0.001)


def start_post(pool: ConnectionPool) -> "asyncio.Task[bytes]":
    """Send the standard request in a task of its own."""
    return asyncio.ensure_future(post_and_read(pool))


async def gather_results(*tasks: "asyncio.Task[bytes]") -> list[bytes | BaseException]:
    """Wait for all requests and return their bodies or exceptions."""
    return await asyncio.gather(*tasks, return_exceptions=True)


def respond_when_set(gate: asyncio.Event) -> Handler:
    """Respond to requests once `gate` is set."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK)

    return handler
