"""What belongs to one request: its id, its trace, and the caller that it was admitted for."""

import re

from starlette.types import Scope

from app.base.randomness import new_request_id
from app.callers.admission import Admission, authenticate
from app.errors import InvalidRequest
from app.observability.trace_context import parse_trace_context, set_trace_context
from app.runtime import Runtime

_ID = "broker.request_id"
_ADMISSION = "broker.admission"
_LIMITS = "broker.limits"
_KEPT = "broker.kept"
_HEAD = "broker.head"
_AT_MOST_ONCE = (b"authorization", b"content-type", b"content-encoding")
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def begin_request(scope: Scope) -> str:
    """Take the request id over from the gateway if it is well-formed, or draw one; and the trace, if there is one."""
    given = b""
    is_traced = False
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = given or value
        elif name == b"traceparent":
            is_traced = True
    request_id = given.decode() if _WELL_FORMED.fullmatch(given) else new_request_id()
    scope[_ID] = request_id
    # Always: a request that came ahead of the answer before it inherits what that one was served for.
    set_trace_context(parse_trace_context(scope["headers"]) if is_traced else None)
    return request_id


def as_get(scope: Scope) -> Scope:
    """Turn a HEAD into the GET whose headers it asks for (RFC 9110 section 9.3.2); the server leaves the body out."""
    return {**scope, "method": "GET", _HEAD: True} if scope["method"] == "HEAD" else scope


def was_head(scope: Scope) -> bool:
    """Tell whether a GET came as a HEAD."""
    return _HEAD in scope


def require_once(scope: Scope) -> None:
    """Refuse what a gateway may read otherwise than the broker: two fields of one name (RFC 9110 section 5.3)."""
    names = [name for name, _ in scope["headers"]]
    for name in _AT_MOST_ONCE:
        if names.count(name) > 1:
            raise InvalidRequest(f"send the header {name.decode()} once", code="header_repeated")


def request_id_of(scope: Scope) -> str:
    """Return the id of the request."""
    return str(scope.get(_ID, ""))


async def admit(runtime: Runtime, scope: Scope, authorization: str) -> Admission:
    """Authenticate a caller and count its request until `dismiss`. Raises UnauthorizedCaller or RateLimited."""
    callers = runtime.callers
    admission = await authenticate(callers.authenticator, authorization)
    scope[_ADMISSION] = admission
    callers.limits.enter(admission.tenant, admission.id)
    scope[_LIMITS] = callers.limits
    return admission


def keep(runtime: Runtime, admission: Admission, scope: Scope, size: int) -> None:
    """Count `size` bytes of a body that are in memory until `dismiss`. Raises RateLimited or BrokerUnavailable."""
    bodies = runtime.callers.body_budget
    bodies.reserve(admission.tenant, size)
    _, kept = scope.get(_KEPT, (None, 0))
    scope[_KEPT] = (bodies, kept + size)


def dismiss(scope: Scope) -> str | None:
    """Note that the request has ended, and return its caller's id, if it had one."""
    admission: Admission | None = scope.get(_ADMISSION)
    if admission is None:
        return None
    if (limits := scope.get(_LIMITS)) is not None:
        limits.leave(admission.tenant, admission.id)
    if _KEPT in scope:
        bodies, kept = scope[_KEPT]
        bodies.release(admission.tenant, kept)
    return admission.id
