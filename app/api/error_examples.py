"""The error responses of each call in the OpenAPI document: the codes that it can return, each with an example."""

from typing import Any

from app import errors
from app.api.json_limits import too_deep, too_many_values
from app.api.problems import MEDIA_TYPE, invalid_json
from app.errors import BrokerError, UnprocessableRequest

PROBLEM = "#/components/schemas/Problem"
REQUEST_ID = "req_7c1e5a9d3b0f"
# An error, or the class of errors that have only one code.
Example = BrokerError | type[BrokerError]
# When the bank's discovery document is needed.
DISCOVERY = (errors.BankUnreachable, errors.BankResponseInvalid, errors.BankOutcomeUnknown)
_ALL_CALLS: tuple[Example, ...] = (
    errors.UnauthorizedCaller,
    errors.PermissionDenied,
    errors.RateLimited,
    errors.DatabaseUnavailable,
    UnprocessableRequest(
        "a member, parameter or header is invalid; `errors` lists each with its location", code="invalid_request"
    ),
    invalid_json("Expecting value", 0),
    too_deep(),
    too_many_values(),
    errors.RequestTooLarge,
)


def problems(*examples: Example) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that can return these errors, and those that every call can return."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for example in (*examples, *_ALL_CALLS):
        code, detail = code_and_detail(example)
        described = by_status.setdefault(
            example.status,
            {"description": example.title, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}, "examples": {}}}},
        )
        described["content"][MEDIA_TYPE]["examples"][code] = {
            "summary": detail,
            "value": {
                "type": f"urn:stitch-token-broker:error:{code}",
                "title": example.title,
                "status": example.status,
                "detail": detail,
                "code": code,
                "request_id": REQUEST_ID,
            },
        }
    return by_status


def code_and_detail(example: Example) -> tuple[str, str]:
    """Return the code and the detail of an error, those of a class being its only code and its docstring."""
    if isinstance(example, BrokerError):
        return example.code, example.detail
    return example.default_code, (example.__doc__ or "").splitlines()[0]


def pages(meanings: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that browsers open: pages, redirects and the errors of all such routes."""
    meanings = meanings | {403: "A prefetch.", 502: "The bank is unavailable.", 503: "The database is unavailable."}
    html = {"content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        status: {"description": text} | ({} if status == 303 else html) for status, text in sorted(meanings.items())
    }


def link_pages(meanings: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that opens a link."""
    return pages(meanings | {400: "The link has been used or has expired.", 404: "No such link."})


def button_pages() -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that opens a link after its button was pressed."""
    return link_pages(
        {200: "A page that goes on to the bank.", 303: "To the bank, for a client that does not accept HTML."}
    )
