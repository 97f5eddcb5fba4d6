"""Around every request: an id, a bound on its body, security headers, one log line, its metrics. Pure ASGI."""

import time
from functools import lru_cache

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.api.request_context import as_get, begin_request, dismiss
from app.concurrency.shutdown import ShutdownSignal
from app.errors import RequestTooLarge
from app.observability.access_log import ServedRequest
from app.observability.logs import log_request, set_request_id
from app.observability.metrics import REQUEST_SECONDS, REQUESTS
from app.observability.tracing import UNRECORDED_SPAN, span

MOST_PARAMETERS = 100
_QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
# A gateway must not send its next request on a connection that is about to be closed (RFC 9112 section 9.6).
_LAST_ANSWER = (b"connection", b"close")


class Accompaniment:
    """What goes along with a request from its first byte to the last of its answer."""

    __slots__ = ("_began", "_method", "_scope", "_span", "_shutdown", "request_id", "status")

    def __init__(self, scope: Scope, shutdown: ShutdownSignal, method: str) -> None:
        self._scope = scope
        self._shutdown = shutdown
        self._method = method if method in _METHODS else "other"
        self.request_id = request_id = begin_request(scope)
        set_request_id(request_id)
        # Probes would be most of all traces.
        self._span = (
            UNRECORDED_SPAN
            if scope["path"] in _QUIET_ROUTES
            else span(self._method, SpanKind.SERVER, {"http.request.method": self._method})
        )
        self._span.start()
        self._began = time.perf_counter()
        self.status = 500
        """The status of the answer, once there is one."""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields that every answer has besides its own."""
        fields = [(b"x-request-id", self.request_id.encode()), _NO_SNIFFING]
        if self._shutdown.is_set:
            fields.append(_LAST_ANSWER)
        return fields

    def end(self) -> None:
        """Count the request, and write its line."""
        caller_id = dismiss(self._scope)
        seconds = time.perf_counter() - self._began
        route = route_template(self._scope)
        counter, histogram = _metrics_of(route, self._method, self.status)
        counter.inc()
        histogram.observe(seconds)
        if route not in _QUIET_ROUTES:
            client = self._scope["client"]
            log_request(ServedRequest(self._method, route, self.status, caller_id, client[0] if client else None), seconds)
        if self._span.is_recording:
            self._end_span(route, caller_id)

    def _end_span(self, route: str, caller_id: str | None) -> None:
        """Name it as OpenTelemetry's conventions for HTTP have it: by the route's template."""
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes(
            {
                "http.route": route,
                "http.response.status_code": self.status,
                "broker.request_id": self.request_id,
                "broker.caller_id": caller_id or "",
            }
        )
        if self.status >= 500:
            self._span.set_error(str(self.status))
        self._span.end()


class RequestMiddleware:
    """Accompanies the requests that the web framework serves; the query path does so by itself."""

    def __init__(self, app: ASGIApp, shutdown: ShutdownSignal) -> None:
        self._app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        scope = as_get(scope)
        query: bytes = scope["query_string"]
        app = _too_many_parameters if query.count(b"&") >= MOST_PARAMETERS else self._app
        accompaniment = Accompaniment(scope, self._shutdown, method)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                accompaniment.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *accompaniment.fields()]
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        finally:
            accompaniment.end()


async def _too_many_parameters(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a query that takes long to read, before anybody does."""
    response = problem(
        Request(scope),
        status=414,
        code="too_many_parameters",
        title="The address is too long",
        detail=f"an address may have {MOST_PARAMETERS} parameters",
    )
    await response(scope, receive, send)


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
