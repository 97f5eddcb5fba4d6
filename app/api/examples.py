"""The errors of each call, for the OpenAPI document."""

from collections.abc import Iterable
from typing import Any

from app import errors
from app.api.problems import MEDIA_TYPE

PROBLEM = "#/components/schemas/Problem"
_AUTHENTICATED: tuple[type[errors.BrokerError], ...] = (
    errors.UnauthorizedCaller,
    errors.PermissionDenied,
    errors.RateLimited,
    errors.DatabaseUnavailable,
)


def problems(*kinds: type[errors.BrokerError], authenticated: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that may raise these errors, beside those that every call may."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in _all(kinds, authenticated=authenticated):
        described = by_status.setdefault(
            kind.status,
            {"description": kind.title, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}, "examples": {}}}},
        )
        described["content"][MEDIA_TYPE]["examples"][kind.default_code] = {
            "summary": (kind.__doc__ or "").splitlines()[0],
            "value": {
                "type": f"urn:stitch-token-broker:error:{kind.default_code}",
                "title": kind.title,
                "status": kind.status,
                "detail": (kind.__doc__ or "").splitlines()[0],
                "code": kind.default_code,
                "request_id": "req_7c1e5a9d3b0f",
            },
        }
    return by_status


def _all(kinds: Iterable[type[errors.BrokerError]], *, authenticated: bool) -> list[type[errors.BrokerError]]:
    return [*kinds, errors.UnprocessableRequest, *(_AUTHENTICATED if authenticated else ())]
