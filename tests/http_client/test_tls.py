"""TLS: certificates are verified, and a cut is not an end."""

import asyncio

import pytest

from app.http_client import Broken, ConnectTimedOut, NotSent
from tests.http_client.certificates import Certificate
from tests.http_client.support import OK, answering, ask, ask_whole, on_each_loop, pooled, read_request, serving

_ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nhalf"


@on_each_loop
async def test_a_request_over_tls(certificate: Certificate) -> None:
    async with (
        answering(OK, tls=certificate.serving()) as server,
        pooled(server.url, ssl_context=certificate.trusting()) as pool,
    ):
        for _ in range(3):
            assert await ask_whole(pool) == b"ok"
        secured = server.writers[0].get_extra_info("ssl_object")
        assert secured.selected_alpn_protocol() == "http/1.1"
    assert server.connections == 1
    assert b"\r\nHost: localhost:%d\r\n" % server.port in server.requests[0]


@on_each_loop
async def test_large_bodies_over_tls(certificate: Certificate) -> None:
    body = bytes(range(256)) * 10_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with (
        answering(answer, tls=certificate.serving()) as server,
        pooled(server.url, ssl_context=certificate.trusting()) as pool,
    ):
        for _ in range(2):
            response = await pool.post((), body)
            assert b"".join([chunk async for chunk in response.stream()]) == body
    assert server.connections == 1
    assert all(request.endswith(body) for request in server.requests)


@on_each_loop
async def test_a_certificate_that_nobody_trusts(certificate: Certificate) -> None:
    async with answering(OK, tls=certificate.serving()) as server, pooled(server.url) as pool:
        with pytest.raises(NotSent):
            await ask(pool)
    assert server.requests == []


@on_each_loop
async def test_a_certificate_for_another_name(certificate: Certificate) -> None:
    async with answering(OK, tls=certificate.serving()) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        async with pooled(url, ssl_context=certificate.trusting()) as pool:
            with pytest.raises(NotSent):
                await ask(pool)
    assert server.requests == []


@on_each_loop
async def test_a_server_that_does_not_speak_tls() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(converse) as server, pooled(f"https://127.0.0.1:{server.port}") as pool:
        with pytest.raises(NotSent):
            await ask(pool)


@on_each_loop
async def test_a_handshake_that_does_not_go_on() -> None:
    async def converse(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(converse) as server, pooled(f"https://127.0.0.1:{server.port}", connect_timeout=0.1) as pool:
        with pytest.raises(ConnectTimedOut):
            await ask(pool)
        assert pool.busy == 0


@pytest.mark.parametrize("cut", [False, True])
@on_each_loop
async def test_a_body_without_a_length_ends_with_the_closing_alert_only(certificate: Certificate, *, cut: bool) -> None:
    """RFC 9112, section 9.8."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ENDLESS)
        await asyncio.sleep(0.05)
        if cut:
            writer.transport.abort()

    async with (
        serving(converse, tls=certificate.serving()) as server,
        pooled(server.url, ssl_context=certificate.trusting()) as pool,
    ):
        if cut:
            with pytest.raises(Broken):
                await ask_whole(pool)
        else:
            assert await ask_whole(pool) == b"half"
        assert (pool.busy, pool.idle) == (0, 0)
