"""The context of one request, kept in its ASGI scope: id, trace, admission, and what it has reserved."""

import re

from starlette.types import Scope

from app.base.randomness import new_request_id
from app.callers.admission import Admission, authenticate
from app.errors import InvalidRequest
from app.observability.trace_context import parse_trace_context, set_trace_context
from app.runtime import Runtime

_REQUEST_ID = "broker.request_id"
_ADMISSION = "broker.admission"
_LIMITS = "broker.limits"
_RESERVED = "broker.reserved_body_bytes"
_IS_HEAD = "broker.is_head"
_SINGLE_HEADERS = (b"authorization", b"content-type", b"content-encoding")
_REQUEST_ID_FORM = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def begin_request(scope: Scope) -> str:
    """Use the gateway's request id if it is well-formed, or create one; continue the trace if there is one."""
    given = b""
    is_traced = False
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = given or value
        elif name == b"traceparent":
            is_traced = True
    request_id = given.decode() if _REQUEST_ID_FORM.fullmatch(given) else new_request_id()
    scope[_REQUEST_ID] = request_id
    # Even if there is none: a pipelined request inherits the context of the one before it.
    set_trace_context(parse_trace_context(scope["headers"]) if is_traced else None)
    return request_id


def head_as_get(scope: Scope) -> Scope:
    """Treat HEAD as GET (RFC 9110 section 9.3.2). The server leaves out the body."""
    return {**scope, "method": "GET", _IS_HEAD: True} if scope["method"] == "HEAD" else scope


def was_head(scope: Scope) -> bool:
    """Return whether a GET request came as HEAD."""
    return _IS_HEAD in scope


def require_single_headers(scope: Scope) -> None:
    """Reject repeated headers that a gateway could interpret differently (RFC 9110 section 5.3)."""
    names = [name for name, _ in scope["headers"]]
    for name in _SINGLE_HEADERS:
        if names.count(name) > 1:
            raise InvalidRequest(f"send the header {name.decode()} once", code="header_repeated")


def request_interrupted() -> InvalidRequest:
    """Return the error for a request whose client disconnected before the end of the body. Only the log shows it."""
    return InvalidRequest("the request was interrupted")


def request_id_of(scope: Scope) -> str:
    """Return the id of the request."""
    return str(scope.get(_REQUEST_ID, ""))


async def admit(runtime: Runtime, scope: Scope, authorization: str) -> Admission:
    """Authenticate a caller and count its request until `end_request`. Raises UnauthorizedCaller or RateLimited."""
    callers = runtime.callers
    admission = await authenticate(callers.authenticator, authorization)
    scope[_ADMISSION] = admission
    callers.limits.enter(admission.tenant, admission.id)
    scope[_LIMITS] = callers.limits
    return admission


def reserve_body_bytes(runtime: Runtime, admission: Admission, scope: Scope, size: int) -> None:
    """Count `size` bytes of a body that are in memory until `end_request`. Raises RateLimited or BrokerUnavailable."""
    bodies = runtime.callers.body_budget
    bodies.reserve(admission.tenant, size)
    _, reserved = scope.get(_RESERVED, (None, 0))
    scope[_RESERVED] = (bodies, reserved + size)


def end_request(scope: Scope) -> str | None:
    """Release what the request has reserved, and return its caller's id, if it had one."""
    admission: Admission | None = scope.get(_ADMISSION)
    if admission is None:
        return None
    if (limits := scope.get(_LIMITS)) is not None:
        limits.leave(admission.tenant, admission.id)
    if _RESERVED in scope:
        bodies, reserved = scope[_RESERVED]
        bodies.release(admission.tenant, reserved)
    return admission.id
