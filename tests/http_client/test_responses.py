"""How responses are parsed and read, and when their connection is reused."""

import asyncio

import pytest

from app.http_client import ConnectionPool
from tests.http_client.support import (
    OK,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    serve,
    serve_responses,
)

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# A response, its status, its body, and whether its connection is kept.
RESPONSES = {
    "length": (OK, 200, b"ok", True),
    "no body": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "no reason phrase": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "chunked": (_CHUNKED + b"2\r\nok\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n", 200, b"ok0123456789abcdef", True),
    "chunked in capitals": (_CHUNKED.replace(b"chunked", b"Chunked") + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    "no chunks": (_CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "trailers": (_CHUNKED + b"2\r\nok\r\n0\r\nX-Checksum: 1\r\nVary: b\r\n\r\n", 200, b"ok", True),
    "interim responses": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    "a server error": (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no", True),
    "an upgrade offered": (
        OK.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        200,
        b"ok",
        True,
    ),
    "HTTP/1.0 with keep-alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "close among other options": (
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        False,
    ),
    "extra data": (OK + b"more", 200, b"ok", False),
    "a second response": (OK + OK, 200, b"ok", False),
    "a later interim response": (OK + b"HTTP/1.1 100 Continue\r\n\r\n", 200, b"ok", False),
    "extra data after close": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokmore",
        200,
        b"ok",
        False,
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
@on_each_loop
async def test_a_response_is_parsed(name: str) -> None:
    raw, status, body, is_kept = RESPONSES[name]
    async with serve_responses(raw) as server, open_pool(server.url) as pool:
        for _ in range(2):
            response = await post(pool)
            assert response.status == status
            assert response.read_if_complete() == body, "it arrived in one piece, so reading must not wait"
            assert pool.idle == is_kept
            response.close()
    assert server.connections == (1 if is_kept else 2)


@on_each_loop
async def test_a_body_that_ends_with_the_connection() -> None:
    async with (
        serve_responses(b"HTTP/1.1 200 OK\r\n\r\nwhole body", then_close=True) as server,
        open_pool(server.url) as pool,
    ):
        assert await post_and_read(pool) == b"whole body"
        assert await post_and_read(pool) == b"whole body"
    assert server.connections == 2


@on_each_loop
async def test_headers_are_read_by_lower_case_names() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nX-One: 1 \r\nVary: a\r\nEmpty:\r\nVary:  b\t\r\nLatin: \xe9\r\nContent-Length: 2\r\n\r\nok"
    )
    async with serve_responses(head, OK) as server, open_pool(server.url) as pool:
        response = await post(pool)
        assert response.header("x-one") == "1"
        assert response.header("vary") == "a, b"
        assert response.header("empty") == ""
        assert response.header("latin") == "é"
        assert response.header("none") is None
        assert response.content_length == 2
        assert [name for name, _ in response.header_fields] == [
            b"x-one",
            b"vary",
            b"empty",
            b"vary",
            b"latin",
            b"content-length",
        ]


@on_each_loop
async def test_a_chunked_response_has_no_content_length() -> None:
    async with serve_responses(_CHUNKED + b"0\r\n\r\n") as server, open_pool(server.url) as pool:
        response = await post(pool)
        assert response.content_length is None
        assert response.header("transfer-encoding") == "chunked"


@on_each_loop
async def test_a_content_coding_is_not_decoded() -> None:
    async with (
        serve_responses(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")) as server,
        open_pool(server.url) as pool,
    ):
        assert await post_and_read(pool) == b"ok"


@on_each_loop
async def test_peeking_does_not_take_the_body() -> None:
    async with (
        serve_responses([_CHUNKED, b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"]) as server,
        open_pool(server.url) as pool,
    ):
        response = await post(pool)
        assert response.read_if_complete() is None
        assert await response.peek(2) == b"abc"
        assert await response.peek(100) == b"abcdef"
        assert response.is_complete
        assert [chunk async for chunk in response.stream()] == [b"abcdef"]
        assert await response.read() == b""
        assert await response.peek(100) == b""


@on_each_loop
async def test_a_part_of_the_body_can_be_read_as_soon_as_it_arrives() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_CHUNKED + b"3\r\none\r\n")
        await first_part_read.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    first_part_read = asyncio.Event()
    async with serve(handler) as server, open_pool(server.url) as pool:
        response = await post(pool)
        assert await response.read() == b"one"
        first_part_read.set()
        assert await response.read() == b"two"
        assert await response.read() == b""
        assert pool.idle == 1


async def _read_concurrently(pool: ConnectionPool) -> None:
    response = await post(pool)
    first = asyncio.ensure_future(response.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="only one reader"):
        await response.read()
    response.close()
    await asyncio.gather(first, return_exceptions=True)


@on_each_loop
async def test_a_response_can_have_only_one_reader() -> None:
    async with serve_responses(_CHUNKED) as server, open_pool(server.url) as pool:
        await _read_concurrently(pool)
