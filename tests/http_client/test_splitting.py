"""However the bytes of an answer are cut into pieces, it is the same answer."""

import asyncio

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.http_client.support import answering, ask, on_each_loop, pooled

_HEAD = b"HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\n"
WHOLE = {
    "length": _HEAD + b"Content-Length: 10\r\n\r\n0123456789",
    "chunked": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;a=b\r\n0123\r\n6\r\n456789\r\n0\r\nX-Sum: 45\r\n\r\n",
    "close": _HEAD + b"\r\n0123456789",
}


async def _check(pieces: list[bytes], *, then_close: bool, asks: int = 1) -> None:
    async with answering(pieces, then_close=then_close) as server, pooled(server.url) as pool:
        for _ in range(asks):
            response = await ask(pool)
            assert response.status == 200
            assert response.header("content-type") == "text/plain"
            assert response.header("x-empty") == ""
            assert response.header("link") is None
            assert b"".join([chunk async for chunk in response.stream()]) == b"0123456789"
            assert pool.idle == (not then_close)


@on_each_loop
async def test_an_answer_may_be_cut_anywhere() -> None:
    for name, whole in WHOLE.items():
        for cut in range(1, len(whole)):
            await _check([whole[:cut], whole[cut:]], then_close=name == "close")


@on_each_loop
async def test_an_answer_may_come_byte_by_byte() -> None:
    for name, whole in WHOLE.items():
        pieces = [whole[place : place + 1] for place in range(len(whole))]
        await _check(pieces, then_close=name == "close", asks=2)


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_an_answer_may_be_cut_into_any_pieces(name: str, data: st.DataObject) -> None:
    whole = WHOLE[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_check(pieces, then_close=name == "close", asks=2))


@given(st.binary(max_size=300))
def test_any_body_comes_as_it_was_sent(body: bytes) -> None:
    async def check() -> None:
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        known = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with answering(chunked, known) as server, pooled(server.url) as pool:
            for _ in range(3):
                response = await ask(pool)
                assert b"".join([chunk async for chunk in response.stream()]) == body
        assert server.connections == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())
