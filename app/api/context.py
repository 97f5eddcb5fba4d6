"""What belongs to one request: its id."""

import re

from starlette.types import Scope

from app.randomness import request_identifier

_ID = "broker.request_id"
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
