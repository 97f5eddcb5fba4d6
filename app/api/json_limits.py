"""Limits the depth and the number of values of a request's JSON, which its size in bytes does not."""

import json

from app.errors import InvalidRequest

# The deepest request has three levels, and a caller's own metadata.
MAX_DEPTH = 20
MAX_VALUES = 1_000
# Far more than any call needs. A body with more is not parsed at all: that would block the event loop for milliseconds.
_MAX_BRACKETS = 8 * MAX_VALUES


def check_json_limits(body: bytes) -> None:
    """Raise InvalidRequest `json_too_deep` or `json_too_many_values`. Invalid JSON is left to the caller."""
    if body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise too_many_values()
    try:
        level = [json.loads(body)]
    except RecursionError as error:
        raise too_deep() from error
    except ValueError:
        return
    depth = seen = 0
    while level := [child for parent in level for child in _children(parent)]:
        depth, seen = depth + 1, seen + len(level)
        if depth > MAX_DEPTH:
            raise too_deep()
        if seen > MAX_VALUES:
            raise too_many_values()


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def too_many_values() -> InvalidRequest:
    """Return the error for a body with too many values."""
    return InvalidRequest(f"the body may contain {MAX_VALUES} values", code="json_too_many_values")


def too_deep() -> InvalidRequest:
    """Return the error for a body that is nested too deeply."""
    return InvalidRequest(f"the body may be nested {MAX_DEPTH} levels deep", code="json_too_deep")
