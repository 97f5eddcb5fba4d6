"""What we rely on inside aiohttp. After an upgrade, each failure here says which behaviour breaks."""

import asyncio
import inspect
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from app.base.aiohttp_sessions import MAX_INTERIM_RESPONSES, BoundedResponse, open_session
from tests.support.pinned_versions import assert_pinned_to_minor

BEHAVIOUR = "the limit for interim responses, which protects the event loop"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_the_installed_version_is_within_the_pinned_minor_version() -> None:
    assert_pinned_to_minor("aiohttp")


def test_a_response_is_started_with_its_connection() -> None:
    start = getattr(aiohttp.ClientResponse, "start", None)
    assert inspect.iscoroutinefunction(start), f"ClientResponse.start is no coroutine, which breaks: {BEHAVIOUR}"
    assert list(inspect.signature(start).parameters) == ["self", "connection"], f"this breaks: {BEHAVIOUR}"


def test_a_connection_has_a_protocol() -> None:
    protocol = inspect.getattr_static(Connection, "protocol", None)
    assert isinstance(protocol, property), f"Connection.protocol is no property, which breaks: {BEHAVIOUR}"


async def test_heads_are_read_with_a_method_that_can_be_replaced() -> None:
    assert inspect.iscoroutinefunction(ResponseHandler.read), f"ResponseHandler.read has changed: {BEHAVIOUR}"
    assert list(inspect.signature(ResponseHandler.read).parameters) == ["self"], f"this breaks: {BEHAVIOUR}"
    handler = ResponseHandler(asyncio.get_running_loop())
    assert hasattr(handler, "__dict__"), f"`read` of a ResponseHandler cannot be replaced, which breaks: {BEHAVIOUR}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def _get(session: aiohttp.ClientSession, data: bytes) -> bytes:
    """Request a server that sends `data`, and return the body."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert isinstance(response, BoundedResponse), f"`response_class` is ignored, which breaks: {BEHAVIOUR}"
            return await response.read()


async def test_interim_responses_up_to_the_limit_are_skipped(session: aiohttp.ClientSession) -> None:
    assert await _get(session, INTERIM * MAX_INTERIM_RESPONSES + FINAL) == b"ok"


async def test_more_interim_responses_are_rejected(session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientPayloadError, match="interim"):
        await _get(session, INTERIM * (MAX_INTERIM_RESPONSES + 1) + FINAL)


async def test_bytes_that_arrived_before_an_error_are_read_before_it_is_raised(session: aiohttp.ClientSession) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf a body")
        writer.close()

    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            await asyncio.sleep(0.1)
            received = bytearray()
            with pytest.raises(aiohttp.ClientPayloadError):
                async for chunk in response.content.iter_chunked(4):
                    received += chunk
    assert received == b"half a body", "StreamReader has changed, which breaks: reading cut-off responses"
