"""Connecting to a name with several addresses. The addresses are ports on this machine."""

import asyncio
import gc
import socket
import warnings
from collections.abc import Iterator
from typing import Any, cast

import pytest

from app.http_client.connect import connect
from app.http_client.errors import ConnectError, ConnectTimeout
from app.http_client.route import route_to
from tests.http_client.support import on_each_loop, serve

ROUTE = route_to("http://bank.example/graphql", ssl_context=None, proxy=None)


class Client(asyncio.Protocol):
    """Keeps its transport."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    @property
    def socket(self) -> socket.socket:
        tcp_socket: socket.socket = self.transport.get_extra_info("socket")
        return tcp_socket


async def _wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let the name of `ROUTE` resolve to these ports of localhost, in this order."""
    loop = asyncio.get_running_loop()
    getaddrinfo = loop.getaddrinfo

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        if host == ROUTE.host:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        # uvloop resolves the IP address of each attempt too.
        return await getaddrinfo(host, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", resolve)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that neither accepts nor refuses connections, since its backlog is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    clients = [socket.socket() for _ in range(2)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    yield listener.getsockname()[1]
    for open_socket in (*clients, listener):
        open_socket.close()


@on_each_loop
async def test_the_next_address_is_tried_at_once_if_one_refuses(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    async with serve(_wait) as server:
        _resolve_to(monkeypatch, closed_port, server.port)
        started = asyncio.get_running_loop().time()
        client = await connect(ROUTE, Client, timeout_seconds=5)
        assert asyncio.get_running_loop().time() - started < 0.2
        assert client.transport.get_extra_info("peername")[1] == server.port
        client.transport.abort()


@on_each_loop
async def test_the_next_address_is_tried_if_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with serve(_wait) as server:
            _resolve_to(monkeypatch, silent_port, server.port)
            client = await connect(ROUTE, Client, timeout_seconds=5)
            assert client.transport.get_extra_info("peername")[1] == server.port
            gc.collect()
            assert [warning.message for warning in caught] == [], "the socket of the abandoned attempt is closed"
            client.transport.abort()


@on_each_loop
async def test_if_no_address_accepts_it_is_a_connect_error(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    for ports in ((closed_port, closed_port), ()):
        _resolve_to(monkeypatch, *ports)
        with pytest.raises(ConnectError):
            await connect(ROUTE, Client, timeout_seconds=5)


@on_each_loop
async def test_all_attempts_end_with_the_timeout(monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    _resolve_to(monkeypatch, silent_port, silent_port)
    with pytest.raises(ConnectTimeout):
        await connect(ROUTE, Client, timeout_seconds=0.4)


@on_each_loop
async def test_small_packets_are_not_delayed(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    async with serve(_wait) as server:
        for ports in ((server.port,), (closed_port, server.port)):
            _resolve_to(monkeypatch, *ports)
            client = await connect(ROUTE, Client, timeout_seconds=5)
            assert client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.transport.abort()
