"""The authorization request and its response (RFC 6749 section 4.1, RFC 7636, RFC 9207, OpenID Connect Core 3.1.2)."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

from pydantic import SecretStr

from app.errors import InvalidRequest, LoginError
from app.oidc.discovery import ProviderMetadata
from app.randomness import opaque_value

_MAX_VALUE = 4_096
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_NAMES = ("state", "code", "error", "error_description", "iss", "scope", "session_state")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The secrets of one login, and the address that starts it."""

    state: SecretStr
    nonce: SecretStr
    code_verifier: SecretStr
    code_challenge: str
    url: SecretStr


def new_authorization_request(
    metadata: ProviderMetadata, *, client_id: str, redirect_uri: str, scopes: Sequence[str]
) -> AuthorizationRequest:
    """Draw a state, a nonce and a verifier, and build the address as Stitch's documentation has it."""
    state, nonce, verifier = opaque_value(), opaque_value(), opaque_value()
    challenge = code_challenge(verifier)
    query = urlencode(
        {
            "client_id": client_id,
            "scope": " ".join(scopes),
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "nonce": nonce,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        },
        quote_via=quote,
    )
    separator = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
    return AuthorizationRequest(
        state=SecretStr(state),
        nonce=SecretStr(nonce),
        code_verifier=SecretStr(verifier),
        code_challenge=challenge,
        url=SecretStr(f"{metadata.authorization_endpoint}{separator}{query}"),
    )


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def check_verifier(verifier: str) -> None:
    """Raise InvalidRequest unless the verifier has the form of RFC 7636 section 4.1."""
    if not _VERIFIER.fullmatch(verifier):
        raise InvalidRequest("a code_verifier has 43 to 128 characters of A-Z a-z 0-9 - . _ ~")


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The parameters of a redirect: each at most once, none checked yet but for its form."""

    state: SecretStr
    code: SecretStr | None = None
    error: str | None = None
    error_description: str | None = None
    iss: str | None = field(default=None)

    @property
    def is_cancelled(self) -> bool:
        """True where the user declined: Stitch then sends nothing but the state, others `access_denied`."""
        return self.code is None and self.error in (None, "access_denied")


def parse_authorization_response(parameters: Sequence[tuple[str, str]]) -> AuthorizationResponse:
    """Read the query of a redirect. Raises InvalidRequest for what no provider sends (RFC 6749 section 3.1)."""
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in _NAMES:
            continue
        if name in values:
            raise InvalidRequest(f"the parameter `{name}` is there more than once", code="parameter_repeated")
        if len(value) > _MAX_VALUE:
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
        error_description=values.get("error_description") or None,
        iss=values.get("iss"),
    )


def check_issuer(response: AuthorizationResponse, metadata: ProviderMetadata) -> None:
    """Refuse a response of another issuer (RFC 9207 section 2.4). Raises LoginError `issuer_mismatch`."""
    if response.iss is None and not metadata.sends_issuer:
        return
    if response.iss != metadata.issuer:
        raise LoginError("the redirect does not come from the configured issuer", code="issuer_mismatch")
