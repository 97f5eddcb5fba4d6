"""ASGI middleware for every request: id, span, metrics, access log, common headers and a limit on the body."""

import time
from functools import lru_cache

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.api.request_context import begin_request, end_request, head_as_get
from app.concurrency.shutdown import ShutdownSignal
from app.errors import RequestTooLarge
from app.observability.access_log import ServedRequest
from app.observability.logs import log_request, set_request_id
from app.observability.metrics import REQUEST_SECONDS, REQUESTS
from app.observability.tracing import UNRECORDED_SPAN, span

MAX_PARAMETERS = 100
_QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
# A gateway must not send its next request on a connection that is about to be closed (RFC 9112 section 9.6).
_CONNECTION_CLOSE = (b"connection", b"close")


class RequestRecord:
    """Records one request, from its start to the end of its response, in traces, metrics and the access log."""

    __slots__ = ("_began", "_method", "_scope", "_shutdown", "_span", "request_id", "status")

    def __init__(self, scope: Scope, shutdown: ShutdownSignal, method: str) -> None:
        self._scope = scope
        self._shutdown = shutdown
        self._method = method if method in _METHODS else "other"
        self.request_id = request_id = begin_request(scope)
        set_request_id(request_id)
        # Otherwise most traces would be health checks.
        self._span = (
            UNRECORDED_SPAN
            if scope["path"] in _QUIET_ROUTES
            else span(self._method, SpanKind.SERVER, {"http.request.method": self._method})
        )
        self._span.start()
        self._began = time.perf_counter()
        self.status = 500
        """The status of the response, once it has started."""

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that are added to every response."""
        headers = [(b"x-request-id", self.request_id.encode()), _NO_SNIFF]
        if self._shutdown.is_set:
            headers.append(_CONNECTION_CLOSE)
        return headers

    def end(self) -> None:
        """Count the request and write its line in the access log."""
        caller_id = end_request(self._scope)
        seconds = time.perf_counter() - self._began
        route = route_template(self._scope)
        counter, histogram = _labelled_metrics(route, self._method, self.status)
        counter.inc()
        histogram.observe(seconds)
        if route not in _QUIET_ROUTES:
            client = self._scope["client"]
            address = client[0] if client else None
            log_request(ServedRequest(self._method, route, self.status, caller_id, address), seconds)
        if self._span.is_recording:
            self._end_span(route, caller_id)

    def _end_span(self, route: str, caller_id: str | None) -> None:
        """Name the span by the route's template, as OpenTelemetry's HTTP conventions say."""
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
    """Records the requests that FastAPI serves. The query path does this itself."""

    def __init__(self, app: ASGIApp, shutdown: ShutdownSignal) -> None:
        self._app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        scope = head_as_get(scope)
        query: bytes = scope["query_string"]
        app = _too_many_parameters if query.count(b"&") >= MAX_PARAMETERS else self._app
        record = RequestRecord(scope, self._shutdown, method)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *record.response_headers()]
            await send(message)

        try:
            await app(scope, receive, send_with_headers)
        finally:
            record.end()


async def _too_many_parameters(scope: Scope, receive: Receive, send: Send) -> None:
    """Reject a query string that would take long to parse, before it is parsed."""
    response = problem(
        Request(scope),
        status=414,
        code="too_many_parameters",
        title="The address is too long",
        detail=f"an address may have {MAX_PARAMETERS} parameters",
    )
    await response(scope, receive, send)


@lru_cache(maxsize=4_096)
def _labelled_metrics(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Look up the metrics of these labels once: all labels come from fixed sets."""
    return REQUESTS.labels(route=route, method=method, status=status), REQUEST_SECONDS.labels(route=route)


class BodyLimitMiddleware:
    """Rejects bodies that are larger than any call needs."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise RequestTooLarge(f"the body may have {self._limit} bytes")
            return message

        await self._app(scope, limited_receive, send)


def route_template(scope: Scope) -> str:
    """Return the path with the names of its parameters, so that ids appear neither in metrics nor as log routes."""
    template = scope.get("broker.route")
    if template is None:
        template = getattr(scope.get("route"), "path_format", None)
    return template or "unmatched"
