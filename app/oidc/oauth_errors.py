"""Translates the provider's error responses into errors of the broker (RFC 6749 section 5.2)."""

import email.utils
from datetime import datetime

import httpx

from app.errors import (
    BankError,
    BankRateLimited,
    BankRequestRejected,
    BankResponseInvalid,
    BankServerError,
    InvalidClient,
    InvalidGrant,
)
from app.oidc.authorization_response import ERROR_CODES as AUTHORIZATION_ERROR_CODES
from app.oidc.dpop import USE_DPOP_NONCE
from app.oidc.response_body import parse_json_object
from app.oidc.transport import BankResponse

_MAX_RETRY_AFTER_SECONDS = 3_600.0
# RFC 6749 section 5.2; RFC 7009 section 2.2.1; RFC 9126 section 2.3 with RFC 9101 and OpenID Connect Core 3.1.2.6;
# RFC 9449 sections 5 and 8.
_KNOWN_ERROR_CODES = AUTHORIZATION_ERROR_CODES | {
    *("invalid_client", "invalid_grant", "unsupported_grant_type", "unsupported_token_type", "invalid_target"),
    *("invalid_dpop_proof", USE_DPOP_NONCE),
    # RFC 6750 section 3.1, of revocation endpoints that do not know the token.
    "invalid_token",
}
REVOCATION_IMPOSSIBLE = "revocation_impossible"
_UNKNOWN_ERROR_CODE = "an error of its own"


def raise_for_error(response: BankResponse, now: datetime) -> None:
    """Raise the BankError that an error response means. `invalid_client` may come with status 400 or 401.

    Any 2xx status is a success: a token must not be lost over that.
    """
    if 200 <= response.status < 300:
        return
    if response.status == 429:
        raise BankRateLimited("the bank wants fewer requests", retry_after=parse_retry_after(response.headers, now))
    if response.status >= 500:
        raise BankServerError(
            f"the bank failed with status {response.status}", retry_after=parse_retry_after(response.headers, now)
        )
    error_code = parse_error_code(response)
    if error_code in ("invalid_client", "unauthorized_client") or (response.status == 401 and error_code is None):
        raise InvalidClient("the bank does not accept the broker's client credentials; check BROKER_STITCH_CLIENT_*")
    if error_code == "invalid_grant":
        raise InvalidGrant("the bank says that the grant is not, or no longer, good")
    if error_code is not None:
        raise BankRequestRejected(f"the bank refused the request with {error_code}")
    raise BankResponseInvalid(f"the bank answered with status {response.status} and no OAuth error")


def raise_for_revocation_error(response: BankResponse, now: datetime) -> None:
    """Raise the BankError that a response of the revocation endpoint means. A token that is not valid is revoked.

    Its code is `revocation_impossible` if another attempt cannot succeed.
    """
    error_code = parse_error_code(response) if 400 <= response.status < 500 else None
    if error_code in ("invalid_token", "invalid_grant"):
        return
    if error_code == "unsupported_token_type":
        raise BankError("the bank does not revoke tokens of this type", code=REVOCATION_IMPOSSIBLE)
    if error_code is None and response.status in (404, 405, 410):
        raise BankError(
            f"the bank answers {response.status} at its revocation endpoint; check BROKER_STITCH_REVOCATION_ENDPOINT",
            code=REVOCATION_IMPOSSIBLE,
        )
    raise_for_error(response, now)


def parse_error_code(response: BankResponse) -> str | None:
    """Return the OAuth error code, or None. An unknown code is not returned, since it may repeat a secret.

    Raises BankResponseInvalid if the body cannot be decoded.
    """
    try:
        error_code = parse_json_object(response.text()).get("error")
    except ValueError:
        return None
    if not isinstance(error_code, str):
        return None
    return error_code if error_code in _KNOWN_ERROR_CODES else _UNKNOWN_ERROR_CODE


def parse_error_description(response: BankResponse) -> str:
    """Return the `error_description` of an OAuth error. It may repeat a secret: it can be searched, but not shown."""
    try:
        description = parse_json_object(response.text()).get("error_description")
    except ValueError:
        return ""
    return description if isinstance(description, str) else ""


def parse_retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Return `Retry-After` in seconds, whether it is a number or a date (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER_SECONDS)
    try:
        date = email.utils.parsedate_to_datetime(value)
        return min(max((date - now).total_seconds(), 0.0), _MAX_RETRY_AFTER_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return None
