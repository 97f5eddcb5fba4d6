"""Reads `X-Forwarded-For` and `X-Forwarded-Proto` of the proxies that the settings trust."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PEER = "broker.peer"


class TrustedProxies:
    """Takes the client's address from a trusted proxy, if it is an IP address.

    Anything else may have been written by the client and forwarded by a careless proxy. It must not reach the log, so
    the proxy counts as the client then.
    """

    def __init__(self, app: ASGIApp, networks: Iterable[str]) -> None:
        self._app = app
        self._proxy_headers = ProxyHeadersMiddleware(cast("Any", self._serve), list(networks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        scope[_PEER] = scope.get("client")
        await self._proxy_headers(cast("Any", scope), cast("Any", receive), cast("Any", send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and client is not scope[_PEER] and not _is_address(client[0]):
            scope["client"] = scope[_PEER]
        await self._app(scope, receive, send)


def _is_address(text: str) -> bool:
    # A zone (RFC 4007 section 11) may be any text, and has a meaning on the proxy's machine only.
    if "%" in text:
        return False
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
