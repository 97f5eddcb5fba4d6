"""What is refused, and what is said about a request that did not end with an answer."""

import asyncio
import socket
import struct

import pytest

from app.http_client import Broken, Malformed, NotSent, Unanswered, WireError
from tests.http_client.support import (
    OK,
    Conversation,
    answering,
    ask,
    ask_whole,
    on_each_loop,
    pooled,
    read_request,
    serving,
)

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_MANY = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(70))

BEGUN = {
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    "no chunk": _CHUNKED,
    "half a chunk": _CHUNKED + b"3\r\nok",
    "no last chunk": _CHUNKED + b"2\r\nok\r\n",
    "half a trailer": _CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 4",
    "no end of trailers": _CHUNKED + b"2\r\nok\r\n0\r\n",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
}
MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/3.0": OK.replace(b"1.1", b"3.0"),
    "no version": b"HTTP/ 200 OK\r\n\r\n",
    "bare line feeds": OK.replace(b"\r\n", b"\n"),
    "a status of two digits": OK.replace(b"200", b"20"),
    "a status of four digits": OK.replace(b"200", b"2000"),
    "two lengths": OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "one length twice": OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"),
    "a negative length": OK.replace(b" 2\r", b" -2\r"),
    "a length with a sign": OK.replace(b" 2\r", b" +2\r"),
    "a length beyond counting": OK.replace(b" 2\r", b" 99999999999999999999\r"),
    "length and chunks": _CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"0\r\n\r\n",
    "chunks and length": OK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "another coding": _CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "another coding first": _CHUNKED.replace(b"Transfer", b"Transfer-Encoding: gzip\r\nTransfer") + b"0\r\n\r\n",
    "chunks, then another coding": _CHUNKED.replace(b"chunked", b"chunked, gzip") + b"0\r\n\r\n",
    "chunked twice": _CHUNKED.replace(b"Transfer", b"Transfer-Encoding: chunked\r\nTransfer") + b"0\r\n\r\n",
    "a chunk size in words": _CHUNKED + b"two\r\nok\r\n0\r\n\r\n",
    "a chunk that is longer than it says": _CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "a length among the trailers": _CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 7\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n",
    "another protocol by 101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "101 without a protocol": b"HTTP/1.1 101 Switching\r\n\r\n",
    "a head that is too long": b"HTTP/1.1 200 OK\r\n" + _MANY + b"\r\n",
    "a field that is too long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    "a name that is too long": b"HTTP/1.1 200 OK\r\n" + b"y" * 70_000,
    "a reason that is too long": b"HTTP/1.1 200 " + b"y" * 70_000,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000,
    "trailers that are too long": _CHUNKED + b"2\r\nok\r\n0\r\n" + _MANY * 2 + b"\r\n",
    "an extension that is too long": _CHUNKED + b"2;x=" + b"y" * 140_000 + b"\r\nok\r\n0\r\n\r\n",
}


def hanging_up(data: bytes = b"", *, reset: bool = False) -> Conversation:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await asyncio.sleep(0.01)
        if reset:
            # With no time to linger, closing sends RST instead of FIN.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    return converse


@pytest.mark.parametrize("reset", [False, True])
@on_each_loop
async def test_a_request_without_an_answer_may_have_been_processed(*, reset: bool) -> None:
    async with serving(hanging_up(reset=reset)) as server, pooled(server.url) as pool:
        with pytest.raises(Unanswered):
            await ask(pool)
        assert pool.busy == 0


@pytest.mark.parametrize("name", BEGUN)
@on_each_loop
async def test_an_answer_that_ends_too_soon_is_broken(name: str) -> None:
    async with serving(hanging_up(BEGUN[name])) as server, pooled(server.url) as pool:
        with pytest.raises(Broken) as caught:
            await ask_whole(pool)
        assert not isinstance(caught.value, Malformed)
        assert pool.busy == 0


@on_each_loop
async def test_a_reset_is_not_the_end_of_a_body_without_a_length() -> None:
    async with serving(hanging_up(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset=True)) as server, pooled(server.url) as pool:
        response = await ask(pool)
        assert await response.read() == b"half"
        with pytest.raises(Broken):
            await response.read()
        with pytest.raises(Broken):
            await response.beginning(10)


@on_each_loop
async def test_what_came_before_the_break_can_be_read() -> None:
    async with serving(hanging_up(BEGUN["half a chunk"])) as server, pooled(server.url) as pool:
        response = await ask(pool)
        await asyncio.sleep(0.05)
        assert response.whole() is None
        assert await response.read() == b"ok"
        with pytest.raises(Broken):
            await response.read()


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", MALFORMED)
@on_each_loop
async def test_what_is_not_a_proper_answer_is_refused(name: str, *, in_pieces: bool) -> None:
    answer = MALFORMED[name]
    step = max(len(answer) // 50, 1)
    pieces = [answer[start : start + step] for start in range(0, len(answer), step)] if in_pieces else [answer]
    async with answering(pieces) as server, pooled(server.url) as pool:
        with pytest.raises(Malformed):
            await ask_whole(pool)
        assert (pool.busy, pool.idle) == (0, 0)


@on_each_loop
async def test_a_head_may_be_long() -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + _MANY[:60_000].rpartition(b"\r\n")[0] + b"\r\nContent-Length: 2\r\n\r\nok"
    async with answering(answer) as server, pooled(server.url) as pool:
        assert await ask_whole(pool) == b"ok"
        assert pool.idle == 1


@on_each_loop
async def test_an_error_says_nothing_of_what_was_sent_or_came() -> None:
    async with answering(b"HTTP/1.1 200 planted\r\nplanted\r\n\r\n") as server, pooled(server.url) as pool:
        with pytest.raises(WireError) as caught:
            await ask(pool)
    error: BaseException | None = caught.value
    while error is not None:
        assert "planted" not in repr(error)
        assert "secret" not in repr(error)
        error = error.__cause__ or error.__context__


@on_each_loop
async def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with pooled(f"http://127.0.0.1:{taken.getsockname()[1]}") as pool:
            for _ in range(20):
                with pytest.raises(NotSent):
                    await ask(pool)


@on_each_loop
async def test_a_name_that_does_not_exist() -> None:
    async with pooled("http://nowhere.invalid") as pool:
        with pytest.raises(NotSent):
            await ask(pool)
