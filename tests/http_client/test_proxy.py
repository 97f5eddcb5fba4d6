"""Connections through an HTTP proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.http_client import ConnectError, ConnectTimeout
from tests.http_client.certificates import Certificate
from tests.http_client.support import (
    OK,
    Server,
    on_each_loop,
    open_pool,
    post,
    post_and_read,
    read_request,
    serve,
    serve_responses,
)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.write_eof()


@asynccontextmanager
async def serve_tunnels(response: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> AsyncIterator[Server]:
    """Run a proxy that opens tunnels."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        server.requests.append(request)
        for index in range(len(response)):
            writer.write(response[index : index + 1])
            await asyncio.sleep(0)
        host, _, port = request.split()[1].rpartition(b":")
        origin_reader, origin_writer = await asyncio.open_connection(host.decode(), int(port))
        try:
            await asyncio.gather(_copy(reader, origin_writer), _copy(origin_reader, writer))
        finally:
            origin_writer.close()

    async with serve(handler) as server:
        yield server


@on_each_loop
async def test_an_https_origin_is_reached_through_a_tunnel(certificate: Certificate) -> None:
    async with serve_responses(OK, tls=certificate.server_context()) as server, serve_tunnels() as proxy:
        address = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        async with open_pool(server.url, proxy=address, ssl_context=certificate.client_context()) as pool:
            for _ in range(3):
                assert await post_and_read(pool) == b"ok"
    assert server.connections == 1
    assert proxy.requests == [
        b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
        % (server.port, server.port)
    ]
    assert server.requests[0].startswith(b"POST /graphql?v=1 HTTP/1.1\r\nHost: localhost:%d\r\n" % server.port)
    assert b"Proxy-" not in server.requests[0]


@on_each_loop
async def test_the_connection_to_a_proxy_may_use_tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with (
        serve_responses(OK, tls=certificate.server_context()) as proxy,
        open_pool("http://bank.example/graphql", proxy=f"https://localhost:{proxy.port}") as pool,
    ):
        assert await post_and_read(pool) == b"ok"


@on_each_loop
async def test_the_origins_certificate_is_verified_through_a_tunnel(certificate: Certificate) -> None:
    async with (
        serve_responses(OK, tls=certificate.server_context()) as server,
        serve_tunnels() as proxy,
        open_pool(server.url, proxy=f"127.0.0.1:{proxy.port}") as pool,
    ):
        with pytest.raises(ConnectError):
            await post(pool)
        assert pool.busy == 0
    assert server.requests == []


@on_each_loop
async def test_requests_to_an_http_origin_have_the_absolute_form() -> None:
    async with (
        serve_responses(OK) as proxy,
        open_pool("http://bank.example:81/graphql?v=1", proxy=f"http://u:p@127.0.0.1:{proxy.port}") as pool,
    ):
        for _ in range(2):
            assert await post_and_read(pool) == b"ok"
    assert proxy.connections == 1
    assert proxy.requests[0].startswith(
        b"POST http://bank.example:81/graphql?v=1 HTTP/1.1\r\n"
        b"Host: bank.example:81\r\nProxy-Authorization: Basic dTpw\r\ncontent-type"
    )


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 Connected\r\n\r\nmore",
        b"HTTP/1.1 200 Connected\r\nX: " + b"x" * 70_000,
    ],
)
@on_each_loop
async def test_a_proxy_that_refuses_the_tunnel(response: bytes) -> None:
    async with (
        serve_responses(response) as proxy,
        open_pool("https://bank.example", proxy=f"http://127.0.0.1:{proxy.port}") as pool,
    ):
        with pytest.raises(ConnectError):
            await post(pool)
        assert pool.busy == 0


@on_each_loop
async def test_a_proxy_that_closes_the_connection_or_does_not_respond() -> None:
    async def close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    for handler, error in ((close, ConnectError), (wait, ConnectTimeout)):
        async with serve(handler) as proxy:
            address = f"http://127.0.0.1:{proxy.port}"
            async with open_pool("https://bank.example", proxy=address, connect_timeout=0.1) as pool:
                with pytest.raises(error):
                    await post(pool)
                assert pool.busy == 0
