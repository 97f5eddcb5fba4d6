"""Opening a connection: TCP, a tunnel through a proxy where there is one, and TLS."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from app.http_client.errors import ConnectTimedOut, NotSent
from app.http_client.happy_eyeballs import connected_socket
from app.http_client.proxy_tunnel import Opening
from app.http_client.route import Route

P = TypeVar("P", bound=asyncio.Protocol)


async def dial(route: Route, make: Callable[[], P], *, patience: float) -> P:
    """Open a connection that is ready for requests, within `patience` seconds. Raises NotSent."""
    try:
        async with asyncio.timeout(patience):
            if route.connect is None:
                return await _open(route, make)
            return await _open_through(route, route.connect, make)
    except TimeoutError as error:
        raise ConnectTimedOut("no connection could be opened in time") from error
    except OSError as error:
        # Refused, unreachable, no such name; and, as SSLError is one too, a certificate that does not fit.
        raise NotSent("no connection could be opened") from error


async def _open(route: Route, make: Callable[[], P]) -> P:
    tcp = await connected_socket(route.host, route.port)
    try:
        _, protocol = await asyncio.get_running_loop().create_connection(
            make, sock=tcp, ssl=route.dial_tls, server_hostname=route.host if route.dial_tls else None
        )
    except BaseException:
        tcp.close()
        raise
    return protocol


async def _open_through(route: Route, connect: bytes, make: Callable[[], P]) -> P:
    opening = await _open(route, Opening)
    assert opening.transport is not None
    assert route.tunnel_tls is not None
    try:
        transport = await opening.ask(connect)
        protocol = make()
        secured = await asyncio.get_running_loop().start_tls(
            transport, protocol, route.tunnel_tls, server_hostname=route.origin_host
        )
        if secured is None:
            raise NotSent("the connection was lost as it was secured")
        protocol.connection_made(secured)
    except BaseException:
        opening.transport.abort()
        raise
    return protocol
