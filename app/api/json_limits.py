"""How large a request's JSON may be in ways that its bytes do not tell: how deep, and how many values."""

import json

from app.errors import InvalidRequest

# The deepest call needs three levels beside a caller's own metadata.
DEEPEST = 20
MOST_VALUES = 1_000
# Far more than any call needs: what has more is not read at all, which would take milliseconds of everybody's.
_MOST_BRACKETS = 8 * MOST_VALUES


def require_modest(body: bytes) -> None:
    """Raise InvalidRequest `json_too_deep` or `json_too_many_values`. What is no JSON is for others to refuse."""
    if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
        raise _too_many()
    try:
        level = [json.loads(body)]
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError:
        return
    depth = seen = 0
    while level := [inner for outer in level for inner in _within(outer)]:
        depth, seen = depth + 1, seen + len(level)
        if depth > DEEPEST:
            raise _too_deep()
        if seen > MOST_VALUES:
            raise _too_many()


def _within(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_many() -> InvalidRequest:
    return InvalidRequest(f"the body may hold {MOST_VALUES} values", code="json_too_many_values")


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body may nest {DEEPEST} levels deep", code="json_too_deep")
