"""The authorization response: the query parameters of the provider's redirect (RFC 6749 section 4.1.2, RFC 9207).

Only `check_authorization_response` creates a CheckedAuthorizationResponse, and the token endpoint exchanges nothing
else. Code that tries to exchange a response before its checks does not pass mypy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from app.base.hashing import constant_time_equal, sha256_hex
from app.errors import InvalidRequest, LoginError
from app.oidc.provider_metadata import ProviderMetadata

# RFC 6749 section 4.1.2.1 and OpenID Connect Core 3.1.2.6. A redirect can carry any text here, so others are not shown.
ERROR_CODES = frozenset(
    {
        *("invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope"),
        *("server_error", "temporarily_unavailable", "interaction_required", "login_required"),
        *("account_selection_required", "consent_required", "invalid_request_uri", "invalid_request_object"),
        *("request_not_supported", "request_uri_not_supported", "registration_not_supported"),
    }
)
PARAMETERS = ("state", "code", "error", "error_description", "iss", "scope", "session_state")
# The parameters that decide about a login. The others are information for people, or not used.
_DECISIVE_PARAMETERS = ("state", "code", "error", "iss")
_MAX_VALUE_LENGTH = 4_096


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The parameters of a redirect. Only their form has been checked, and not that of `error_description`."""

    state: SecretStr
    code: SecretStr | None = None
    error: str | None = None
    error_description: str | None = None
    iss: str | None = None

    @property
    def is_successful(self) -> bool:
        """True if there is a code to exchange. The code of an error response is ignored (RFC 6749 section 4.1.2.1)."""
        return self.code is not None and self.error is None

    @property
    def is_cancelled(self) -> bool:
        """True if the user declined: Stitch then sends only the state, other providers send `access_denied`."""
        return not self.is_successful and self.error in (None, "access_denied")


@dataclass(frozen=True, slots=True)
class CheckedAuthorizationResponse:
    """A successful response to the expected login, from the expected issuer."""

    code: SecretStr


def parse_authorization_response(parameters: Sequence[tuple[str, str]]) -> AuthorizationResponse:
    """Parse the query of a redirect.

    Raises InvalidRequest if `state`, `code`, `error` or `iss` is malformed or repeated (RFC 6749 section 3.1). Nothing
    that is wrong with another parameter may prevent or end a login.
    """
    values: dict[str, str] = {}
    description = ""
    for name, value in parameters:
        if name == "error_description":
            description = description or " ".join(value[:_MAX_VALUE_LENGTH].split())
        if name not in _DECISIVE_PARAMETERS:
            continue
        if name in values:
            raise InvalidRequest(f"the parameter `{name}` is there more than once", code="parameter_repeated")
        if len(value) > _MAX_VALUE_LENGTH:
            raise InvalidRequest(f"the parameter `{name}` is too long", code="parameter_too_long")
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            raise InvalidRequest(f"the parameter `{name}` has control characters", code="parameter_malformed")
        values[name] = value
    if not values.get("state"):
        raise InvalidRequest("the parameter `state` is missing", code="state_missing")
    return AuthorizationResponse(
        state=SecretStr(values["state"]),
        code=SecretStr(values["code"]) if values.get("code") else None,
        error=values.get("error") or None,
        error_description=description or None,
        iss=values.get("iss"),
    )


def check_authorization_response(
    response: AuthorizationResponse, metadata: ProviderMetadata, *, state_sha256: str
) -> CheckedAuthorizationResponse:
    """Check a successful response. `state_sha256` is the SHA-256 of the login's state in hexadecimal.

    Raises LoginError with the code `state_unknown`, `issuer_mismatch` or `authorization_failed`.
    """
    if not constant_time_equal(sha256_hex(response.state.get_secret_value()), state_sha256):
        raise LoginError("the redirect belongs to another login", code="state_unknown")
    if not is_from_issuer(response, metadata):
        raise LoginError("the redirect does not come from the configured issuer", code="issuer_mismatch")
    if response.code is None or not response.is_successful:
        raise LoginError("the redirect has no authorization code", code="authorization_failed")
    return CheckedAuthorizationResponse(response.code)


def is_from_issuer(response: AuthorizationResponse, metadata: ProviderMetadata) -> bool:
    """Return whether `iss` is the provider's; it may be missing unless it is announced (RFC 9207 section 2.4)."""
    if response.iss is None:
        return not metadata.authorization_response_iss_parameter_supported
    return response.iss == metadata.issuer
