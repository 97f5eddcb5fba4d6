"""Closing a pool."""

import asyncio

import pytest

from app.http_client import Broken, OriginPool, PoolClosed, Unanswered, WireError
from tests.http_client.support import OK, answering, ask, ask_whole, on_each_loop, pooled, read_request, serving

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@on_each_loop
async def test_a_closed_pool_takes_nothing() -> None:
    async with answering(OK) as server:
        async with pooled(server.url) as pool:
            await ask_whole(pool)
        with pytest.raises(PoolClosed):
            await ask(pool)


@on_each_loop
async def test_closing_ends_what_is_under_way() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if server.connections == 1:
            writer.write(_CHUNKED)
        await reader.read()

    async def outcome(pool: OriginPool) -> Exception:
        with pytest.raises(WireError) as caught:
            await ask_whole(pool)
        return caught.value

    async with serving(converse) as server, pooled(server.url, max_connections=2) as pool:
        begun = await ask(pool)
        written = asyncio.ensure_future(outcome(pool))
        await asyncio.sleep(0.05)
        queued = asyncio.ensure_future(outcome(pool))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(Broken):
            await begun.read()
        assert type(await written) is Unanswered
        assert type(await queued) is PoolClosed


@on_each_loop
async def test_closing_while_a_connection_is_being_opened() -> None:
    async with answering(OK) as server, pooled(server.url) as pool:
        asking = asyncio.ensure_future(ask(pool))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(PoolClosed):
            await asking


@on_each_loop
async def test_closing_when_a_turn_has_just_come() -> None:
    async def close_then() -> None:
        await ask_whole(pool)
        await pool.close()

    async with answering(OK) as server, pooled(server.url, max_connections=1) as pool:
        first = asyncio.ensure_future(close_then())
        await asyncio.sleep(0)
        with pytest.raises(PoolClosed):
            await ask(pool)
        await first
