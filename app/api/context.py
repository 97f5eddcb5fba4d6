"""What belongs to one request: its id, and the caller that it was admitted for."""

import re

from starlette.types import Scope

from app.randomness import request_identifier
from app.runtime import Runtime
from app.services.callers import Caller

_ID = "broker.request_id"
_CALLER = "broker.caller"
_LIMITS = "broker.limits"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def begin_request(scope: Scope) -> str:
    """Take the request id over from the gateway if it is well-formed, or draw one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode() if _WELL_FORMED.fullmatch(given) else request_identifier()
    scope[_ID] = request_id
    return request_id


def request_id_of(scope: Scope) -> str:
    """Return the id of the request."""
    return str(scope.get(_ID, ""))


def admit(runtime: Runtime, caller: Caller, scope: Scope) -> None:
    """Let an authenticated caller's request in, until `dismiss`. Raises RateLimited."""
    scope[_CALLER] = caller.id
    runtime.limits.enter(caller.id)
    scope[_LIMITS] = runtime.limits


def dismiss(scope: Scope) -> str | None:
    """Note that the request has ended, and return its caller's id, if it had one."""
    caller_id: str | None = scope.get(_CALLER)
    if caller_id is not None and (limits := scope.get(_LIMITS)) is not None:
        limits.leave(caller_id)
    return caller_id
