"""TLS: certificates are verified, and a truncated stream does not complete a response."""

import asyncio

import pytest

from app.http_client import ConnectError, ConnectTimeout, IncompleteResponse
from tests.http_client.certificates import Certificate
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

_CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\n\r\nhalf"


@on_each_loop
async def test_a_request_over_tls(certificate: Certificate) -> None:
    async with (
        serve_responses(OK, tls=certificate.server_context()) as server,
        open_pool(server.url, ssl_context=certificate.client_context()) as pool,
    ):
        for _ in range(3):
            assert await post_and_read(pool) == b"ok"
        tls_connection = server.writers[0].get_extra_info("ssl_object")
        assert tls_connection.selected_alpn_protocol() == "http/1.1"
    assert server.connections == 1
    assert b"\r\nHost: localhost:%d\r\n" % server.port in server.requests[0]


@on_each_loop
async def test_large_bodies_over_tls(certificate: Certificate) -> None:
    body = bytes(range(256)) * 10_000
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with (
        serve_responses(raw, tls=certificate.server_context()) as server,
        open_pool(server.url, ssl_context=certificate.client_context()) as pool,
    ):
        for _ in range(2):
            response = await pool.post((), body)
            assert b"".join([chunk async for chunk in response.stream()]) == body
    assert server.connections == 1
    assert all(request.endswith(body) for request in server.requests)


@on_each_loop
async def test_an_untrusted_certificate_is_rejected(certificate: Certificate) -> None:
    async with serve_responses(OK, tls=certificate.server_context()) as server, open_pool(server.url) as pool:
        with pytest.raises(ConnectError):
            await post(pool)
    assert server.requests == []


@on_each_loop
async def test_a_certificate_for_another_name_is_rejected(certificate: Certificate) -> None:
    async with serve_responses(OK, tls=certificate.server_context()) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        async with open_pool(url, ssl_context=certificate.client_context()) as pool:
            with pytest.raises(ConnectError):
                await post(pool)
    assert server.requests == []


@on_each_loop
async def test_a_server_that_does_not_speak_tls() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(handler) as server, open_pool(f"https://127.0.0.1:{server.port}") as pool:
        with pytest.raises(ConnectError):
            await post(pool)


@on_each_loop
async def test_a_tls_handshake_that_stalls() -> None:
    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serve(handler) as server, open_pool(f"https://127.0.0.1:{server.port}", connect_timeout=0.1) as pool:
        with pytest.raises(ConnectTimeout):
            await post(pool)
        assert pool.busy == 0


@pytest.mark.parametrize("cut", [False, True])
@on_each_loop
async def test_a_close_delimited_response_is_complete_only_after_a_closing_alert(
    certificate: Certificate, *, cut: bool
) -> None:
    """RFC 9112, section 9.8."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_CLOSE_DELIMITED)
        await asyncio.sleep(0.05)
        if cut:
            writer.transport.abort()

    async with (
        serve(handler, tls=certificate.server_context()) as server,
        open_pool(server.url, ssl_context=certificate.client_context()) as pool,
    ):
        if cut:
            with pytest.raises(IncompleteResponse):
                await post_and_read(pool)
        else:
            assert await post_and_read(pool) == b"half"
        assert (pool.busy, pool.idle) == (0, 0)
