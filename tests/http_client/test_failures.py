"""Which responses are rejected, and which error a request without a complete response raises."""

import asyncio
import socket
import struct

import pytest

from app.http_client import ConnectError, HttpClientError, IncompleteResponse, InvalidResponse, NoResponse
from tests.http_client.support import (
    OK,
    Handler,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    serve,
    serve_responses,
)

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_MANY_HEADERS = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(70))

INCOMPLETE = {
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    "no chunk": _CHUNKED,
    "half a chunk": _CHUNKED + b"3\r\nok",
    "no last chunk": _CHUNKED + b"2\r\nok\r\n",
    "half a trailer": _CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 4",
    "no end of trailers": _CHUNKED + b"2\r\nok\r\n0\r\n",
    "only an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
}
INVALID = {
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
    "a length that overflows": OK.replace(b" 2\r", b" 99999999999999999999\r"),
    "Content-Length after Transfer-Encoding": _CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    + b"0\r\n\r\n",
    "Transfer-Encoding after Content-Length": OK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "another coding before chunked": _CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "another coding before chunked, in its own header": _CHUNKED.replace(
        b"Transfer", b"Transfer-Encoding: gzip\r\nTransfer"
    )
    + b"0\r\n\r\n",
    "another coding after chunked": _CHUNKED.replace(b"chunked", b"chunked, gzip") + b"0\r\n\r\n",
    "chunked twice": _CHUNKED.replace(b"Transfer", b"Transfer-Encoding: chunked\r\nTransfer") + b"0\r\n\r\n",
    "a chunk size that is not a number": _CHUNKED + b"two\r\nok\r\n0\r\n\r\n",
    "a chunk that is longer than its size": _CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "a length among the trailers": _CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 7\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n",
    "101 with another protocol": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "101 without a protocol": b"HTTP/1.1 101 Switching\r\n\r\n",
    "a head that is too long": b"HTTP/1.1 200 OK\r\n" + _MANY_HEADERS + b"\r\n",
    "a header value that is too long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    "a header name that is too long": b"HTTP/1.1 200 OK\r\n" + b"y" * 70_000,
    "a reason phrase that is too long": b"HTTP/1.1 200 " + b"y" * 70_000,
    "too many interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000,
    "trailers that are too long": _CHUNKED + b"2\r\nok\r\n0\r\n" + _MANY_HEADERS * 2 + b"\r\n",
    "a chunk extension that is too long": _CHUNKED + b"2;x=" + b"y" * 140_000 + b"\r\nok\r\n0\r\n\r\n",
}


def send_and_close(data: bytes = b"", *, reset: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await asyncio.sleep(0.01)
        if reset:
            # With a linger time of zero, closing sends RST instead of FIN.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    return handler


@pytest.mark.parametrize("reset", [False, True])
@on_each_loop
async def test_a_request_without_a_response_may_have_been_processed(*, reset: bool) -> None:
    async with serve(send_and_close(reset=reset)) as server, open_pool(server.url) as pool:
        with pytest.raises(NoResponse):
            await post(pool)
        assert pool.busy == 0


@pytest.mark.parametrize("name", INCOMPLETE)
@on_each_loop
async def test_a_response_that_ends_early_is_incomplete(name: str) -> None:
    async with serve(send_and_close(INCOMPLETE[name])) as server, open_pool(server.url) as pool:
        with pytest.raises(IncompleteResponse) as caught:
            await post_and_read(pool)
        assert not isinstance(caught.value, InvalidResponse)
        assert pool.busy == 0


@on_each_loop
async def test_a_reset_does_not_complete_a_close_delimited_response() -> None:
    async with (
        serve(send_and_close(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset=True)) as server,
        open_pool(server.url) as pool,
    ):
        response = await post(pool)
        assert await response.read() == b"half"
        with pytest.raises(IncompleteResponse):
            await response.read()
        with pytest.raises(IncompleteResponse):
            await response.peek(10)


@on_each_loop
async def test_what_arrived_before_the_failure_can_be_read() -> None:
    async with serve(send_and_close(INCOMPLETE["half a chunk"])) as server, open_pool(server.url) as pool:
        response = await post(pool)
        await asyncio.sleep(0.05)
        assert response.read_if_complete() is None
        assert await response.read() == b"ok"
        with pytest.raises(IncompleteResponse):
            await response.read()


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", INVALID)
@on_each_loop
async def test_an_invalid_response_is_rejected(name: str, *, in_pieces: bool) -> None:
    raw = INVALID[name]
    step = max(len(raw) // 50, 1)
    pieces = [raw[start : start + step] for start in range(0, len(raw), step)] if in_pieces else [raw]
    async with serve_responses(pieces) as server, open_pool(server.url) as pool:
        with pytest.raises(InvalidResponse):
            await post_and_read(pool)
        assert (pool.busy, pool.idle) == (0, 0)


@on_each_loop
async def test_a_head_just_below_the_limit_is_accepted() -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + _MANY_HEADERS[:60_000].rpartition(b"\r\n")[0] + b"\r\nContent-Length: 2\r\n\r\nok"
    async with serve_responses(raw) as server, open_pool(server.url) as pool:
        assert await post_and_read(pool) == b"ok"
        assert pool.idle == 1


@on_each_loop
async def test_an_error_contains_nothing_of_the_request_or_the_response() -> None:
    async with serve_responses(b"HTTP/1.1 200 planted\r\nplanted\r\n\r\n") as server, open_pool(server.url) as pool:
        with pytest.raises(HttpClientError) as caught:
            await post(pool)
    error: BaseException | None = caught.value
    while error is not None:
        assert "planted" not in repr(error)
        assert "secret" not in repr(error)
        error = error.__cause__ or error.__context__


@on_each_loop
async def test_a_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with open_pool(f"http://127.0.0.1:{unused.getsockname()[1]}") as pool:
            for _ in range(20):
                with pytest.raises(ConnectError):
                    await post(pool)


@on_each_loop
async def test_an_unknown_host_name_is_a_connect_error() -> None:
    async with open_pool("http://nowhere.invalid") as pool:
        with pytest.raises(ConnectError):
            await post(pool)
