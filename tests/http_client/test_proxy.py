"""Ways through an HTTP proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.http_client import ConnectTimedOut, NotSent
from tests.http_client.certificates import Certificate
from tests.http_client.support import OK, Server, answering, ask, ask_whole, on_each_loop, pooled, read_request, serving


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.write_eof()


@asynccontextmanager
async def tunnelling(answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> AsyncIterator[Server]:
    """A proxy that opens tunnels."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        server.requests.append(request)
        for place in range(len(answer)):
            writer.write(answer[place : place + 1])
            await asyncio.sleep(0)
        host, _, port = request.split()[1].rpartition(b":")
        far_reader, far_writer = await asyncio.open_connection(host.decode(), int(port))
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()

    async with serving(converse) as server:
        yield server


@on_each_loop
async def test_an_https_origin_is_reached_through_a_tunnel(certificate: Certificate) -> None:
    async with answering(OK, tls=certificate.serving()) as server, tunnelling() as proxy:
        address = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        async with pooled(server.url, proxy=address, ssl_context=certificate.trusting()) as pool:
            for _ in range(3):
                assert await ask_whole(pool) == b"ok"
    assert server.connections == 1
    assert proxy.requests == [
        b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
        % (server.port, server.port)
    ]
    assert server.requests[0].startswith(b"POST /graphql?v=1 HTTP/1.1\r\nHost: localhost:%d\r\n" % server.port)
    assert b"Proxy-" not in server.requests[0]


@on_each_loop
async def test_a_proxy_may_be_reached_over_tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with (
        answering(OK, tls=certificate.serving()) as proxy,
        pooled("http://bank.example/graphql", proxy=f"https://localhost:{proxy.port}") as pool,
    ):
        assert await ask_whole(pool) == b"ok"


@on_each_loop
async def test_the_origins_certificate_is_verified_through_a_tunnel(certificate: Certificate) -> None:
    async with (
        answering(OK, tls=certificate.serving()) as server,
        tunnelling() as proxy,
        pooled(server.url, proxy=f"127.0.0.1:{proxy.port}") as pool,
    ):
        with pytest.raises(NotSent):
            await ask(pool)
        assert pool.busy == 0
    assert server.requests == []


@on_each_loop
async def test_an_http_origin_is_asked_for_in_absolute_form() -> None:
    async with (
        answering(OK) as proxy,
        pooled("http://bank.example:81/graphql?v=1", proxy=f"http://u:p@127.0.0.1:{proxy.port}") as pool,
    ):
        for _ in range(2):
            assert await ask_whole(pool) == b"ok"
    assert proxy.connections == 1
    assert proxy.requests[0].startswith(
        b"POST http://bank.example:81/graphql?v=1 HTTP/1.1\r\n"
        b"Host: bank.example:81\r\nProxy-Authorization: Basic dTpw\r\ncontent-type"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 Connected\r\n\r\nmore",
        b"HTTP/1.1 200 Connected\r\nX: " + b"x" * 70_000,
    ],
)
@on_each_loop
async def test_a_proxy_that_does_not_open_the_tunnel(answer: bytes) -> None:
    async with (
        answering(answer) as proxy,
        pooled("https://bank.example", proxy=f"http://127.0.0.1:{proxy.port}") as pool,
    ):
        with pytest.raises(NotSent):
            await ask(pool)
        assert pool.busy == 0


@on_each_loop
async def test_a_proxy_that_hangs_up_or_keeps_silent() -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async def keep_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    for converse, error in ((hang_up, NotSent), (keep_silent, ConnectTimedOut)):
        async with serving(converse) as proxy:
            address = f"http://127.0.0.1:{proxy.port}"
            async with pooled("https://bank.example", proxy=address, connect_timeout=0.1) as pool:
                with pytest.raises(error):
                    await ask(pool)
                assert pool.busy == 0
