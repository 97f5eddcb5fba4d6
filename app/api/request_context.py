"""What belongs to one request: its id, its trace, and the caller that it was admitted for."""

import re

from starlette.types import Scope

from app.base.randomness import request_identifier
from app.callers.authentication import Caller
from app.errors import InvalidRequest
from app.observability.trace_context import read_trace_context, set_trace_context
from app.runtime import Runtime
from app.store.postgresql.connection_quota import work_for
from app.store.standing import act_with

_ID = "broker.request_id"
_CALLER = "broker.caller"
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
    request_id = given.decode() if _WELL_FORMED.fullmatch(given) else request_identifier()
    scope[_ID] = request_id
    # Always: a request that came ahead of the answer before it inherits what that one was served for.
    set_trace_context(read_trace_context(scope["headers"]) if is_traced else None)
    work_for(None)
    act_with(None)
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


def admit(runtime: Runtime, caller: Caller, scope: Scope) -> None:
    """Let an authenticated caller's request in, until `dismiss`. Raises RateLimited."""
    scope[_CALLER] = caller
    work_for(caller.tenant)
    act_with(caller.key_id)
    runtime.limits.enter(caller.tenant, caller.id)
    scope[_LIMITS] = runtime.limits


def keep(runtime: Runtime, caller: Caller, scope: Scope, size: int) -> None:
    """Count so many bytes of a caller's body that are kept until `dismiss`. Raises RateLimited or BrokerUnavailable."""
    runtime.bodies.take(caller.tenant, size)
    _, kept = scope.get(_KEPT, (None, 0))
    scope[_KEPT] = (runtime.bodies, kept + size)


def dismiss(scope: Scope) -> str | None:
    """Note that the request has ended, and return its caller's id, if it had one."""
    caller: Caller | None = scope.get(_CALLER)
    if caller is None:
        return None
    if (limits := scope.get(_LIMITS)) is not None:
        limits.leave(caller.tenant, caller.id)
    if _KEPT in scope:
        bodies, kept = scope[_KEPT]
        bodies.give_back(caller.tenant, kept)
    return caller.id
