"""What is understood of an answer, and when its connection is used again."""

import asyncio

import pytest

from app.http_client import OriginPool
from tests.http_client.support import OK, answering, ask, ask_whole, on_each_loop, pooled, read_request, serving

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# An answer, its status, its body, and whether its connection stays.
ANSWERS = {
    "length": (OK, 200, b"ok", True),
    "no body": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "chunked": (_CHUNKED + b"2\r\nok\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n", 200, b"ok0123456789abcdef", True),
    "chunked in capitals": (_CHUNKED.replace(b"chunked", b"Chunked") + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    "no chunks": (_CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "trailers": (_CHUNKED + b"2\r\nok\r\n0\r\nX-Checksum: 1\r\nVary: b\r\n\r\n", 200, b"ok", True),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    "an error": (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no", True),
    "an upgrade offered": (
        OK.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        200,
        b"ok",
        True,
    ),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "close among others": (
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        False,
    ),
    "more": (OK + b"more", 200, b"ok", False),
    "a second answer": (OK + OK, 200, b"ok", False),
    "an interim answer afterwards": (OK + b"HTTP/1.1 100 Continue\r\n\r\n", 200, b"ok", False),
    "more after closing": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokmore",
        200,
        b"ok",
        False,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@on_each_loop
async def test_an_answer_is_understood(name: str) -> None:
    answer, status, body, stays = ANSWERS[name]
    async with answering(answer) as server, pooled(server.url) as pool:
        for _ in range(2):
            response = await ask(pool)
            assert response.status == status
            assert response.whole() == body, "it came in one piece, so nothing is to be waited for"
            assert pool.idle == stays
            response.close()
    assert server.connections == (1 if stays else 2)


@on_each_loop
async def test_a_body_that_ends_with_the_connection() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\nall there is", then_close=True) as server, pooled(server.url) as pool:
        assert await ask_whole(pool) == b"all there is"
        assert await ask_whole(pool) == b"all there is"
    assert server.connections == 2


@on_each_loop
async def test_headers_are_read_by_lower_case_names() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nX-One: 1 \r\nVary: a\r\nEmpty:\r\nVary:  b\t\r\nLatin: \xe9\r\nContent-Length: 2\r\n\r\nok"
    )
    async with answering(head, OK) as server, pooled(server.url) as pool:
        response = await ask(pool)
        assert response.header("x-one") == "1"
        assert response.header("vary") == "a, b"
        assert response.header("empty") == ""
        assert response.header("latin") == "é"
        assert response.header("none") is None
        assert response.content_length == 2
        assert [name for name, _ in response.fields] == [
            b"x-one",
            b"vary",
            b"empty",
            b"vary",
            b"latin",
            b"content-length",
        ]


@on_each_loop
async def test_no_length_is_known_of_a_chunked_answer() -> None:
    async with answering(_CHUNKED + b"0\r\n\r\n") as server, pooled(server.url) as pool:
        response = await ask(pool)
        assert response.content_length is None
        assert response.header("transfer-encoding") == "chunked"


@on_each_loop
async def test_a_content_coding_is_left_on() -> None:
    async with (
        answering(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")) as server,
        pooled(server.url) as pool,
    ):
        assert await ask_whole(pool) == b"ok"


@on_each_loop
async def test_the_beginning_is_looked_at_without_being_taken() -> None:
    async with (
        answering([_CHUNKED, b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"]) as server,
        pooled(server.url) as pool,
    ):
        response = await ask(pool)
        assert response.whole() is None
        assert await response.beginning(2) == b"abc"
        assert await response.beginning(100) == b"abcdef"
        assert response.is_complete
        assert [chunk async for chunk in response.stream()] == [b"abcdef"]
        assert await response.read() == b""
        assert await response.beginning(100) == b""


@on_each_loop
async def test_a_piece_is_handed_on_as_soon_as_it_is_here() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_CHUNKED + b"3\r\none\r\n")
        await seen.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    seen = asyncio.Event()
    async with serving(converse) as server, pooled(server.url) as pool:
        response = await ask(pool)
        assert await response.read() == b"one"
        seen.set()
        assert await response.read() == b"two"
        assert await response.read() == b""
        assert pool.idle == 1


async def _read_twice(pool: OriginPool) -> None:
    response = await ask(pool)
    first = asyncio.ensure_future(response.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one reader"):
        await response.read()
    response.close()
    await asyncio.gather(first, return_exceptions=True)


@on_each_loop
async def test_an_answer_has_one_reader() -> None:
    async with answering(_CHUNKED) as server, pooled(server.url) as pool:
        await _read_twice(pool)
