"""The exact bytes of requests, and which headers are allowed."""

import pytest

from app.http_client import HeaderLines, header_lines
from tests.http_client.support import BODY, LINES, OK, on_each_loop, open_pool, post, serve_responses


@on_each_loop
async def test_a_request_is_sent_exactly() -> None:
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        (await post(pool)).close()
    assert server.requests == [
        b"POST /graphql?v=1 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b"content-type: application/json\r\n"
        b"authorization: Bearer secret\r\n"
        b"Content-Length: 27\r\n\r\n" % server.port + BODY
    ]


@on_each_loop
async def test_a_large_body_is_sent_completely() -> None:
    body = bytes(range(256)) * 20_000
    async with serve_responses(OK) as server, open_pool(server.url) as pool:
        for _ in range(2):
            response = await pool.post(LINES, body)
            assert response.read_if_complete() == b"ok"
    assert [request.endswith(b"\r\n\r\n" + body) for request in server.requests] == [True, True]
    assert server.connections == 1


@on_each_loop
async def test_a_request_without_body_and_headers() -> None:
    async with serve_responses(OK) as server, open_pool(f"http://127.0.0.1:{server.port}") as pool:
        assert (await pool.post((), b"")).read_if_complete() == b"ok"
    assert server.requests == [b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n" % server.port]


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"a\x7f", b"\x0b"])
def test_a_value_cannot_end_its_line(value: bytes) -> None:
    with pytest.raises(ValueError, match="value of x-name") as caught:
        header_lines([(b"x-name", value)])
    assert repr(value) not in str(caught.value)


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"a\r\n", b"\xe9", b"Host", b"content-length", b"Transfer-Encoding"]
)
def test_a_name_must_be_a_token_and_not_reserved(name: bytes) -> None:
    with pytest.raises(ValueError, match="not a header field"):
        header_lines([(name, b"x")])


def test_headers_are_encoded_as_lines() -> None:
    lines = header_lines([(b"a", b" b\t"), (b"c", b""), (b"d", "é".encode("latin-1"))])
    assert lines == HeaderLines(b"a: b\r\nc: \r\nd: \xe9\r\n")
