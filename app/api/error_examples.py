"""The error responses of each call in the OpenAPI document: the codes that it can return, each with an example."""

from typing import Any, NamedTuple

from app import errors
from app.api.problems import MEDIA_TYPE

PROBLEM = "#/components/schemas/Problem"


class ErrorExample(NamedTuple):
    """One code of an error class."""

    kind: type[errors.BrokerError]
    code: str
    detail: str


def default_example(kind: type[errors.BrokerError]) -> ErrorExample:
    """Return the example of an error class that has only one code."""
    return ErrorExample(kind, kind.default_code, (kind.__doc__ or "").splitlines()[0])


SESSION_NOT_FOUND = ErrorExample(errors.NotFound, "session_not_found", "your tenant has no session with this id")
CALLER_NOT_FOUND = ErrorExample(errors.NotFound, "caller_not_found", "there is no caller cal_unknown")
KEY_NOT_FOUND = ErrorExample(errors.NotFound, "key_not_found", "payments has no key key_unknown")
SESSION_NOT_PENDING = ErrorExample(
    errors.Conflict, "session_not_pending", "the login is completed and can no longer be cancelled"
)
NOTHING_TO_CONFIRM = ErrorExample(
    errors.Conflict, "nothing_to_confirm", "the session does not wait for a confirmation, or no longer does"
)
CODE_WRONG = ErrorExample(errors.UnprocessableRequest, "confirmation_code_wrong", "the confirmation_code is wrong")
RETURN_URL_NOT_ALLOWED = ErrorExample(
    errors.UnprocessableRequest,
    "return_url_not_allowed",
    "return_url is not one of BROKER_RETURN_URLS; add it there, or use one that is",
)
SCOPE_NOT_ALLOWED = ErrorExample(
    errors.UnprocessableRequest, "scope_not_allowed", "the bank does not allow these scopes: nonsense"
)
IDEMPOTENCY_KEY_REUSED = ErrorExample(
    errors.UnprocessableRequest,
    "idempotency_key_reused",
    "this Idempotency-Key was used for another request; use a new one",
)
USER_MISMATCH = ErrorExample(errors.Conflict, "user_mismatch", "the connection belongs to another user_id")
CALLER_EXISTS = ErrorExample(errors.Conflict, "caller_exists", "the tenant default has a caller named payments")
NOT_REFRESHABLE = ErrorExample(
    errors.Conflict, "not_refreshable", "the user did not grant offline_access, so there is no refresh token"
)
WEBHOOK_NOT_FOUND = ErrorExample(errors.NotFound, "webhook_not_found", "there is no such webhook")
DELIVERY_NOT_FOUND = ErrorExample(errors.NotFound, "delivery_not_found", "there is no such delivery, or no longer")
TOO_MANY_WEBHOOKS = ErrorExample(errors.Conflict, "too_many_webhooks", "a tenant may have 20 webhooks; delete one")
TOO_MANY_KEYS = ErrorExample(errors.Conflict, "too_many_keys", "a caller may have 100 usable keys; revoke one")
WEBHOOK_URL_NOT_ALLOWED = ErrorExample(
    errors.UnprocessableRequest, "webhook_url_not_allowed", "the address is none that events may be sent to"
)
INTERACTION_NOT_FOUND = ErrorExample(errors.NotFound, "interaction_not_found", "there is no such interaction")
INTERACTION_URL_NOT_ALLOWED = ErrorExample(
    errors.UnprocessableRequest,
    "interaction_url_not_allowed",
    "interaction_url must be an address at https://secure.stitch.money, as the bank's error has it",
)
INVALID_CURSOR = ErrorExample(
    errors.InvalidRequest, "invalid_cursor", "`cursor` must be a `next_cursor` of the same list"
)
# The bank's errors at discovery, and at its token endpoint.
DISCOVERY = (
    default_example(errors.BankUnreachable),
    default_example(errors.BankResponseInvalid),
    default_example(errors.BankOutcomeUnknown),
)
TOKENS = (
    *DISCOVERY,
    default_example(errors.BankServerError),
    default_example(errors.BankRateLimited),
    default_example(errors.InvalidClient),
    default_example(errors.BankRequestRejected),
    ErrorExample(
        errors.BankError,
        "bank_left_alone",
        "the bank has failed several times or asked for a pause; the broker tries again shortly",
    ),
    default_example(errors.BankClientMismatch),
    ErrorExample(errors.BankTimeout, "refresh_under_way", "the refresh is still running; try again"),
)
_AUTHENTICATED = (
    default_example(errors.UnauthorizedCaller),
    default_example(errors.PermissionDenied),
    default_example(errors.RateLimited),
    default_example(errors.DatabaseUnavailable),
    ErrorExample(
        errors.UnprocessableRequest,
        "invalid_request",
        "a member, parameter or header is invalid; `errors` lists each with its location",
    ),
    ErrorExample(errors.InvalidRequest, "invalid_json", "the body is not JSON: Expecting value, after 0 characters"),
    ErrorExample(errors.InvalidRequest, "json_too_deep", "the body may be nested 20 levels deep"),
    ErrorExample(errors.InvalidRequest, "json_too_many_values", "the body may contain 1000 values"),
    default_example(errors.RequestTooLarge),
)


def problems(*examples: ErrorExample) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that can return these errors, and those that every call can return."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for example in (*examples, *_AUTHENTICATED):
        kind = example.kind
        described = by_status.setdefault(
            kind.status,
            {"description": kind.title, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}, "examples": {}}}},
        )
        described["content"][MEDIA_TYPE]["examples"][example.code] = {
            "summary": example.detail,
            "value": {
                "type": f"urn:stitch-token-broker:error:{example.code}",
                "title": kind.title,
                "status": kind.status,
                "detail": example.detail,
                "code": example.code,
                "request_id": "req_7c1e5a9d3b0f",
            },
        }
    return by_status


def pages(meanings: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that browsers open: pages, redirects and the errors of all such routes."""
    meanings = meanings | {403: "A prefetch.", 502: "The bank is unavailable.", 503: "The database is unavailable."}
    html = {"content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        status: {"description": text} | ({} if status == 303 else html) for status, text in sorted(meanings.items())
    }
