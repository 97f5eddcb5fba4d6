"""Around every request: an id, a bound on its body, security headers, one log line, its metrics. Pure ASGI."""

import time
from functools import lru_cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import begin_request, dismiss
from app.errors import RequestTooLarge
from app.logs import log_request, set_request_id
from app.metrics import REQUEST_SECONDS, REQUESTS

_QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


class RequestMiddleware:
    """Accompanies a request from its first byte to the last of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = begin_request(scope)
        set_request_id(request_id)
        began = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                message["headers"] = [*given, (b"x-request-id", request_id.encode()), _NO_SNIFFING]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            caller_id = dismiss(scope)
            seconds = time.perf_counter() - began
            route = route_template(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            counter, histogram = _metrics_of(route, method, status)
            counter.inc()
            histogram.observe(seconds)
            if route not in _QUIET_ROUTES:
                log_request(
                    {
                        "method": method,
                        "route": route,
                        "status": status,
                        "milliseconds": round(seconds * 1000, 1),
                        "caller": caller_id,
                    }
                )


@lru_cache(maxsize=4_096)
def _metrics_of(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Find the children of the labels once: all come from fixed sets."""
    return REQUESTS.labels(route=route, method=method, status=status), REQUEST_SECONDS.labels(route=route)


class BodyLimitMiddleware:
    """Refuses bodies that are larger than any call needs."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise RequestTooLarge(f"the body may have {self._limit} bytes")
            return message

        await self._app(scope, bounded_receive, send)


def route_template(scope: Scope) -> str:
    """Return the path with its parameters' names, so that no id becomes a metric or a log line's route."""
    template = scope.get("broker.route")
    if template is None:
        template = getattr(scope.get("route"), "path_format", None)
    return template or "unmatched"
