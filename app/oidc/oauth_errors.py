"""What it means when the provider refuses a request of the broker's (RFC 6749 section 5.2)."""

import email.utils
from datetime import datetime

import httpx

from app.base.strict_json import parse_json
from app.errors import (
    BankRateLimited,
    BankRequestRejected,
    BankResponseInvalid,
    BankServerError,
    InvalidClient,
    InvalidGrant,
)
from app.oidc.authorization import ERRORS
from app.oidc.dpop import NONCE_WANTED
from app.oidc.transport import Answer

_MAX_RETRY_AFTER = 3_600.0
# RFC 6749 section 5.2, RFC 7009 section 2.2.1, RFC 9126 section 2.3 with RFC 9101 and OpenID Connect Core 3.1.2.6, and
# RFC 9449 sections 5 and 8.
_ERRORS = ERRORS | {
    *("invalid_client", "invalid_grant", "unsupported_grant_type", "unsupported_token_type", "invalid_target"),
    *("invalid_dpop_proof", NONCE_WANTED),
}
_UNKNOWN = "an error of its own"


def raise_for_refusal(answer: Answer, now: datetime) -> None:
    """Raise what any other answer than a successful one means. `invalid_client` may come as 400 or 401.

    Whichever status of success it is: a token must not be lost over that.
    """
    if 200 <= answer.status < 300:
        return
    error = read_error(answer.body)
    if answer.status == 429:
        raise BankRateLimited("the bank wants fewer requests", retry_after=parse_retry_after(answer.headers, now))
    if answer.status >= 500:
        raise BankServerError(
            f"the bank failed with status {answer.status}", retry_after=parse_retry_after(answer.headers, now)
        )
    if error in ("invalid_client", "unauthorized_client") or (answer.status == 401 and error is None):
        raise InvalidClient("the bank does not accept the broker's client credentials; check BROKER_STITCH_CLIENT_*")
    if error == "invalid_grant":
        raise InvalidGrant("the bank says that the grant is not, or no longer, good")
    if error is not None:
        raise BankRequestRejected(f"the bank refused the request with {error}")
    raise BankResponseInvalid(f"the bank answered with status {answer.status} and no OAuth error")


def read_error(body: bytes) -> str | None:
    """Return the OAuth error, if there is one; of a code that nobody knows, which may hold what was sent, only that."""
    try:
        values = parse_json(body)
    except ValueError:
        return None
    error = values.get("error") if isinstance(values, dict) else None
    if not isinstance(error, str):
        return None
    return error if error in _ERRORS else _UNKNOWN


def parse_retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Return `Retry-After` in seconds, from its number or its date (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return min(max((moment - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError):
        return None
