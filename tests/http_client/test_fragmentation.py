"""A response is the same however its bytes are split into pieces."""

import asyncio

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.http_client.support import on_each_loop, open_pool, post, serve_responses

_HEAD = b"HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\n"
RESPONSES = {
    "length": _HEAD + b"Content-Length: 10\r\n\r\n0123456789",
    "chunked": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;a=b\r\n0123\r\n6\r\n456789\r\n0\r\nX-Sum: 45\r\n\r\n",
    "close": _HEAD + b"\r\n0123456789",
}


async def _check(pieces: list[bytes], *, then_close: bool, requests: int = 1) -> None:
    async with serve_responses(pieces, then_close=then_close) as server, open_pool(server.url) as pool:
        for _ in range(requests):
            response = await post(pool)
            assert response.status == 200
            assert response.header("content-type") == "text/plain"
            assert response.header("x-empty") == ""
            assert response.header("link") is None
            assert b"".join([chunk async for chunk in response.stream()]) == b"0123456789"
            assert pool.idle == (not then_close)


@on_each_loop
async def test_a_response_may_be_split_anywhere() -> None:
    for name, raw in RESPONSES.items():
        for split in range(1, len(raw)):
            await _check([raw[:split], raw[split:]], then_close=name == "close")


@on_each_loop
async def test_a_response_may_arrive_byte_by_byte() -> None:
    for name, raw in RESPONSES.items():
        pieces = [raw[index : index + 1] for index in range(len(raw))]
        await _check(pieces, then_close=name == "close", requests=2)


@given(st.sampled_from(sorted(RESPONSES)), st.data())
def test_a_response_may_be_split_into_any_pieces(name: str, data: st.DataObject) -> None:
    raw = RESPONSES[name]
    splits = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    pieces = [raw[start:end] for start, end in zip([0, *splits], [*splits, len(raw)], strict=True)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_check(pieces, then_close=name == "close", requests=2))


@given(st.binary(max_size=300))
def test_any_body_arrives_unchanged(body: bytes) -> None:
    async def check() -> None:
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        with_length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with serve_responses(chunked, with_length) as server, open_pool(server.url) as pool:
            for _ in range(3):
                response = await post(pool)
                assert b"".join([chunk async for chunk in response.stream()]) == body
        assert server.connections == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())
