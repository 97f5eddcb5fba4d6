"""`X-Forwarded-For` and `X-Forwarded-Proto`, believed of the proxies that the settings trust."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PEER = "broker.peer"


class TrustedProxies:
    """Has trusted proxies say who their client is, as long as that is an IP address.

    Anything else, which a careless proxy passes on from whoever wrote it, would end up in the log, of whatever length:
    the client is the proxy then.
    """

    def __init__(self, app: ASGIApp, networks: Iterable[str]) -> None:
        self._app = app
        self._believing = ProxyHeadersMiddleware(cast("Any", self._serve), list(networks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        scope[_PEER] = scope.get("client")
        await self._believing(cast("Any", scope), cast("Any", receive), cast("Any", send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and client is not scope[_PEER] and not _is_address(client[0]):
            scope["client"] = scope[_PEER]
        await self._app(scope, receive, send)


def _is_address(text: str) -> bool:
    # A zone (RFC 4007 section 11) may be any text, and means something on the proxy's machine alone.
    if "%" in text:
        return False
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
