"""The errors of each call, for the OpenAPI document: the codes that it really sends, each with an example."""

from typing import Any, NamedTuple

from app import errors
from app.api.problems import MEDIA_TYPE

PROBLEM = "#/components/schemas/Problem"


class Refusal(NamedTuple):
    """One code of a kind of error."""

    kind: type[errors.BrokerError]
    code: str
    detail: str


def own(kind: type[errors.BrokerError]) -> Refusal:
    """Return the refusal of a kind of error that has one code alone."""
    return Refusal(kind, kind.default_code, (kind.__doc__ or "").splitlines()[0])


SESSION_NOT_FOUND = Refusal(errors.NotFound, "session_not_found", "your tenant has no session with this id")
CALLER_NOT_FOUND = Refusal(errors.NotFound, "caller_not_found", "there is no caller cal_unknown")
KEY_NOT_FOUND = Refusal(errors.NotFound, "key_not_found", "payments has no key key_unknown")
SESSION_NOT_PENDING = Refusal(
    errors.Conflict, "session_not_pending", "the login is completed and cannot be cancelled any more"
)
NOTHING_TO_CONFIRM = Refusal(
    errors.Conflict, "nothing_to_confirm", "the session does not await a confirmation, or no longer"
)
CODE_WRONG = Refusal(
    errors.UnprocessableRequest, "confirmation_code_wrong", "the confirmation_code is not the right one"
)
RETURN_URL_NOT_ALLOWED = Refusal(
    errors.UnprocessableRequest,
    "return_url_not_allowed",
    "return_url is not one of BROKER_RETURN_URLS; add it there, or use one that is",
)
IDEMPOTENCY_KEY_REUSED = Refusal(
    errors.UnprocessableRequest,
    "idempotency_key_reused",
    "this Idempotency-Key was used for another request; take a new one",
)
USER_MISMATCH = Refusal(errors.Conflict, "user_mismatch", "the connection belongs to another user_id")
CALLER_EXISTS = Refusal(errors.Conflict, "caller_exists", "the tenant default has a caller named payments")
NOT_REFRESHABLE = Refusal(errors.Conflict, "not_refreshable", "the user did not grant offline_access: no refresh")
WEBHOOK_NOT_FOUND = Refusal(errors.NotFound, "webhook_not_found", "there is no such webhook")
DELIVERY_NOT_FOUND = Refusal(errors.NotFound, "delivery_not_found", "there is no such delivery, or no longer")
TOO_MANY_WEBHOOKS = Refusal(errors.Conflict, "too_many_webhooks", "a tenant may have 20 webhooks; delete one")
TOO_MANY_KEYS = Refusal(errors.Conflict, "too_many_keys", "a caller may have 100 usable keys; revoke one")
WEBHOOK_URL_NOT_ALLOWED = Refusal(
    errors.UnprocessableRequest, "webhook_url_not_allowed", "the address is none that events may be sent to"
)
INTERACTION_NOT_FOUND = Refusal(errors.NotFound, "interaction_not_found", "there is no such interaction")
INTERACTION_URL_NOT_ALLOWED = Refusal(
    errors.UnprocessableRequest,
    "interaction_url_not_allowed",
    "interaction_url must be an address at https://secure.stitch.money, as the bank's error has it",
)
INVALID_CURSOR = Refusal(errors.InvalidRequest, "invalid_cursor", "`cursor` must be a `next_cursor` of the same list")
# The bank, when it is asked for its discovery document; and when it is asked for tokens.
DISCOVERY = (own(errors.BankUnreachable), own(errors.BankResponseInvalid), own(errors.BankOutcomeUnknown))
TOKENS = (
    *DISCOVERY,
    own(errors.BankServerError),
    own(errors.BankRateLimited),
    own(errors.InvalidClient),
    own(errors.BankRequestRejected),
    Refusal(
        errors.BankError,
        "bank_left_alone",
        "the bank has failed several times, or asked for a pause, and is asked again shortly",
    ),
    Refusal(errors.BankTimeout, "refresh_under_way", "the refresh has not ended yet; it goes on, so try again"),
)
_AUTHENTICATED = (
    own(errors.UnauthorizedCaller),
    own(errors.PermissionDenied),
    own(errors.RateLimited),
    own(errors.DatabaseUnavailable),
    Refusal(
        errors.UnprocessableRequest,
        "invalid_request",
        "a member, parameter or header is wrong; `errors` lists each with its place",
    ),
    Refusal(errors.InvalidRequest, "invalid_json", "the body is not JSON: Expecting value, after 0 characters"),
    Refusal(errors.InvalidRequest, "json_too_deep", "the body may nest 20 levels deep"),
    Refusal(errors.InvalidRequest, "json_too_many_values", "the body may hold 1000 values"),
    own(errors.RequestTooLarge),
)


def problems(*refusals: Refusal) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that may answer so, beside what every call may."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for refusal in (*refusals, *_AUTHENTICATED):
        kind = refusal.kind
        described = by_status.setdefault(
            kind.status,
            {"description": kind.title, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}, "examples": {}}}},
        )
        described["content"][MEDIA_TYPE]["examples"][refusal.code] = {
            "summary": refusal.detail,
            "value": {
                "type": f"urn:stitch-token-broker:error:{refusal.code}",
                "title": kind.title,
                "status": kind.status,
                "detail": refusal.detail,
                "code": refusal.code,
                "request_id": "req_7c1e5a9d3b0f",
            },
        }
    return by_status


def pages(meanings: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that browsers open: pages, redirects, and what any of them may get."""
    meanings = meanings | {403: "Only a prefetch.", 502: "The bank is away.", 503: "The database is away."}
    html = {"content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        status: {"description": text} | ({} if status == 303 else html) for status, text in sorted(meanings.items())
    }
