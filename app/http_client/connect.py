"""Opens connections: TCP with Happy Eyeballs, a tunnel through an HTTP proxy if the route has one, and TLS."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import TypeVar, cast

import aiohappyeyeballs

from app.http_client.errors import ConnectError, ConnectTimeout
from app.http_client.route import Route

# RFC 8305, section 5 (Connection Attempt Delay).
_HAPPY_EYEBALLS_DELAY_SECONDS = 0.25
_MAX_PROXY_RESPONSE_BYTES = 65_536
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")

P = TypeVar("P", bound=asyncio.Protocol)


async def connect(route: Route, protocol_factory: Callable[[], P], *, timeout_seconds: float) -> P:
    """Open a connection and return its protocol, ready for requests. Raises ConnectError."""
    try:
        async with asyncio.timeout(timeout_seconds):
            if route.connect_request is None:
                return await _connect_directly(route, protocol_factory)
            return await _connect_through_tunnel(route, route.connect_request, protocol_factory)
    except TimeoutError as error:
        raise ConnectTimeout("no connection could be opened in time") from error
    except OSError as error:
        # Includes name resolution, refused connections and, since SSLError is an OSError, invalid certificates.
        raise ConnectError("no connection could be opened") from error


async def _connect_directly(route: Route, protocol_factory: Callable[[], P]) -> P:
    tcp_socket = await _connect_tcp(route.host, route.port)
    try:
        # A request is a single write, so holding back small packets would only add latency.
        tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, protocol = await asyncio.get_running_loop().create_connection(
            protocol_factory,
            sock=tcp_socket,
            ssl=route.ssl_context,
            server_hostname=route.host if route.ssl_context else None,
        )
    except BaseException:
        tcp_socket.close()
        raise
    return protocol


async def _connect_tcp(host: str, port: int) -> socket.socket:
    """Connect to the first address that accepts (Happy Eyeballs, RFC 8305), which uvloop itself does not do.

    The name is resolved for every connection, so a change of address takes effect as connections are replaced.
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not addresses:
        raise OSError("the name has no address")
    return await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1
    )


async def _connect_through_tunnel(route: Route, connect_request: bytes, protocol_factory: Callable[[], P]) -> P:
    """Open a tunnel through the proxy, and then TLS to the origin inside it."""
    assert route.tunnel_ssl_context is not None
    proxy = await _connect_directly(route, _ProxyProtocol)
    assert proxy.transport is not None
    try:
        transport = await proxy.open_tunnel(connect_request)
        protocol = protocol_factory()
        tls_transport = await asyncio.get_running_loop().start_tls(
            transport, protocol, route.tunnel_ssl_context, server_hostname=route.origin_host
        )
        if tls_transport is None:
            raise ConnectError("the connection was lost during the TLS handshake")
        protocol.connection_made(tls_transport)
    except BaseException:
        proxy.transport.abort()
        raise
    return protocol


class _ProxyProtocol(asyncio.Protocol):
    """The connection to a proxy until its tunnel is open (CONNECT: RFC 9110, section 9.3.6)."""

    def __init__(self) -> None:
        self._tunnel_opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._response = bytearray()
        self.transport: asyncio.Transport | None = None

    async def open_tunnel(self, connect_request: bytes) -> asyncio.Transport:
        """Send the CONNECT request and return the transport, which now leads to the origin. Raises ConnectError."""
        assert self.transport is not None
        self.transport.write(connect_request)
        await self._tunnel_opened
        return self.transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the head of the proxy's response. A successful response to CONNECT has no body."""
        self._response += data
        end = self._response.find(b"\r\n\r\n")
        if end < 0:
            if len(self._response) > _MAX_PROXY_RESPONSE_BYTES:
                self._fail("the proxy's response is too long")
            return
        status = _STATUS_LINE.match(self._response)
        if status is None:
            self._fail("the proxy does not speak HTTP/1.1")
        elif not status[1].startswith(b"2"):
            self._fail(f"the proxy refused the tunnel with status {status[1].decode()}")
        elif len(self._response) > end + 4:
            # In TLS the client sends first, so this cannot come from the origin.
            self._fail("the proxy sent data after its response")
        elif not self._tunnel_opened.done():
            self._tunnel_opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the tunnel is not open yet."""
        self._fail("the proxy closed the connection")

    def _fail(self, reason: str) -> None:
        if not self._tunnel_opened.done():
            self._tunnel_opened.set_exception(ConnectError(reason))
