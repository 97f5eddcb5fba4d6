"""Requests whose head is too long, has trailers, or repeats a header."""

import asyncio

import pytest

from app.api.uvicorn_protocol import MAX_HEAD_BYTES
from tests.support.broker import Api, Broker

FAR_ABOVE_LIMIT = 50 * MAX_HEAD_BYTES


async def send_endlessly(broker: Broker, start: bytes, piece: bytes) -> tuple[bytes, int]:
    """Send pieces until the broker closes the connection. Returns its response and how many bytes it accepted."""
    reader, writer = await asyncio.open_connection(*broker.host)
    sent = 0
    try:
        writer.write(start)
        while sent < FAR_ABOVE_LIMIT and not reader.at_eof():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        return await reader.read(), sent
    except ConnectionError:
        return b"", sent
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: b\r\n", b"x-more: " + b"y" * 2_000 + b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nhost: b\r\nx-long: ", b"y" * 2_000),
        (b"GET /callback?state=", b"y" * 2_000),
        (
            b"POST /v1/sessions HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n1\r\n \r\n0\r\n",
            b"x-trailer: " + b"y" * 2_000 + b"\r\n",
        ),
        (b"POST /v1/sessions HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n1;", b"y" * 2_000),
    ],
    ids=["many headers", "one header", "address", "trailers", "chunk extension"],
)
async def test_everything_outside_of_the_body_is_limited(broker: Broker, start: bytes, piece: bytes) -> None:
    _, accepted = await send_endlessly(broker, start, piece)
    assert accepted < FAR_ABOVE_LIMIT


async def test_a_head_that_is_too_large_gets_a_431_problem(broker: Broker) -> None:
    reader, writer = await asyncio.open_connection(*broker.host)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: b\r\nx-long: ")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"y" * 10_000)
        await asyncio.sleep(0.005)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.01)
        except TimeoutError:
            continue
        break
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in head
    assert b'"code": "head_too_large"' in await reader.read()
    writer.close()


async def test_long_bodies_and_many_requests_do_not_count_as_head(broker: Broker) -> None:
    reader, writer = await asyncio.open_connection(*broker.host)
    for _ in range(40):
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: b\r\ncontent-length: 30000\r\n\r\n" + b"x" * 30_000)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(b'{"status":"ok"}'))
    writer.close()


async def post_chunked(broker: Broker, path: str, *lines: str, body: str = "0\r\n\r\n") -> str:
    """Send a chunked request and return the response."""
    reader, writer = await asyncio.open_connection(*broker.host)
    head = "\r\n".join((f"POST {path} HTTP/1.1", "host: b", "connection: close", "transfer-encoding: chunked", *lines))
    writer.write(f"{head}\r\n\r\n{body}".encode())
    response = await reader.read()
    writer.close()
    return response.decode()


PATHS = ["/v1/connections/con_unknown/graphql", "/v1/connections/con_unknown/token"]


@pytest.mark.parametrize("path", PATHS)
async def test_trailers_are_not_headers(broker: Broker, path: str) -> None:
    reader, writer = await asyncio.open_connection(*broker.host)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    writer.write(b"0\r\nx-request-id: from-a-trailer\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 401 ")
    assert "from-a-trailer" not in head
    writer.close()


@pytest.mark.parametrize("path", PATHS)
async def test_an_api_key_in_a_trailer_does_not_authenticate(broker: Broker, api: Api, path: str) -> None:
    response = await post_chunked(broker, path, body=f"2\r\n{{}}\r\n0\r\nauthorization: Bearer {api.api_key}\r\n\r\n")
    assert response.startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["authorization", "content-type", "content-encoding"])
async def test_a_repeated_header_is_rejected_since_readers_may_choose_different_values(
    broker: Broker, api: Api, path: str, name: str
) -> None:
    repeated = (f"{name}: Bearer {api.api_key}", f"{name.title()}: Bearer other")
    response = await post_chunked(broker, path, *repeated)
    assert response.startswith("HTTP/1.1 400 ")
    assert '"header_repeated"' in response
    assert "request_id" in response
