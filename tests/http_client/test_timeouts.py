"""Nothing is waited for without end, and what time is up for ends."""

import asyncio
import socket

import pytest

from app.http_client import (
    BetweenBytesTimedOut,
    Broken,
    Congested,
    ConnectTimedOut,
    FirstByteTimedOut,
    NotSent,
    TimedOut,
    Unanswered,
    WholeTimedOut,
)
from tests.http_client.support import OK, answering, ask, ask_whole, on_each_loop, pooled, read_request, serving

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def test_a_time_out_tells_what_may_have_become_of_the_request() -> None:
    assert issubclass(ConnectTimedOut, NotSent)
    assert issubclass(FirstByteTimedOut, Unanswered)
    assert issubclass(BetweenBytesTimedOut, Broken)
    assert issubclass(WholeTimedOut, Broken)


@on_each_loop
async def test_no_answer_at_all() -> None:
    async with serving(_silent) as server, pooled(server.url, first_byte_timeout=0.1) as pool:
        began = asyncio.get_running_loop().time()
        with pytest.raises(FirstByteTimedOut):
            await ask(pool)
        assert 0.1 <= asyncio.get_running_loop().time() - began < 1
        assert pool.busy == 0


@on_each_loop
async def test_an_answer_that_comes_to_a_halt() -> None:
    for beginning in (b"HTTP/1.1 200", _CHUNKED + b"3\r\nok"):
        async with answering(beginning) as server, pooled(server.url, between_bytes_timeout=0.1) as pool:
            with pytest.raises(BetweenBytesTimedOut):
                await ask_whole(pool)
            assert pool.busy == 0


@on_each_loop
async def test_a_dribble_may_go_on_but_not_for_ever() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_CHUNKED)
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        serving(converse) as server,
        pooled(server.url, first_byte_timeout=0.1, between_bytes_timeout=0.1, whole_timeout=0.4) as pool,
    ):
        response = await ask(pool)
        read = b""
        with pytest.raises(WholeTimedOut):
            while True:
                read += await response.read()
        assert len(read) > 5


@on_each_loop
async def test_the_whole_may_end_before_anything_came() -> None:
    async with serving(_silent) as server, pooled(server.url, whole_timeout=0.05) as pool:
        with pytest.raises(FirstByteTimedOut):
            await ask(pool)


@on_each_loop
async def test_a_stall_of_the_loop_makes_nobody_late() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        stop = asyncio.get_running_loop().time() + 0.3
        while asyncio.get_running_loop().time() < stop:
            pass
        await reader.read()

    async with serving(converse) as server, pooled(server.url, first_byte_timeout=0.1) as pool:
        assert await ask_whole(pool) == b"ok"


@on_each_loop
async def test_a_connection_that_is_not_accepted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as filler, socket.socket() as another:
            # Linux accepts one more than the backlog says, and leaves the others without an answer.
            for one in (filler, another):
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            async with pooled(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.1) as pool:
                with pytest.raises(ConnectTimedOut):
                    await ask(pool)
                assert pool.busy == 0


@on_each_loop
async def test_a_place_in_the_queue_is_not_for_ever() -> None:
    async with serving(_silent) as server, pooled(server.url, max_connections=1, queue_timeout=0.05) as pool:
        first = asyncio.ensure_future(ask(pool))
        await asyncio.sleep(0.02)
        with pytest.raises(Congested) as caught:
            await ask(pool)
        assert not isinstance(caught.value, TimedOut)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
