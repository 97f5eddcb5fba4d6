"""The authorization request and its response (RFC 6749 section 4.1, RFC 7636, RFC 9207, OpenID Connect Core 3.1.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from app.base.randomness import random_urlsafe_text
from app.errors import InvalidRequest, LoginError
from app.oidc.dpop import ProofKey
from app.oidc.pkce import code_challenge
from app.oidc.provider import ProviderMetadata

_MAX_VALUE = 4_096
# RFC 6749 section 4.1.2.1 and OpenID Connect Core 3.1.2.6. Whoever holds a state can put any text in their place.
ERRORS = frozenset(
    {
        *("invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope"),
        *("server_error", "temporarily_unavailable", "interaction_required", "login_required"),
        *("account_selection_required", "consent_required", "invalid_request_uri", "invalid_request_object"),
        *("request_not_supported", "request_uri_not_supported", "registration_not_supported"),
    }
)
PARAMETERS = ("state", "code", "error", "error_description", "iss", "scope", "session_state")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The secrets of one login, and the parameters that start it, form-encoded."""

    state: SecretStr
    nonce: SecretStr
    code_verifier: SecretStr
    code_challenge: str
    parameters: SecretStr
    proof_key: ProofKey | None = None


def new_authorization_request(
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    prompt: str | None = None,
    proof_key: ProofKey | None = None,
) -> AuthorizationRequest:
    """Draw a state, a nonce and a verifier, and write the request as Stitch's documentation has it.

    With `proof_key`, the code works with a proof of that key only (RFC 9449 section 10).
    """
    state, nonce, verifier = random_urlsafe_text(), random_urlsafe_text(), random_urlsafe_text()
    challenge = code_challenge(verifier)
    parameters = {
        "client_id": client_id,
        "scope": " ".join(scopes),
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "nonce": nonce,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if prompt is not None:
        parameters["prompt"] = prompt
    if proof_key is not None:
        parameters["dpop_jkt"] = proof_key.thumbprint
    return AuthorizationRequest(
        state=SecretStr(state),
        nonce=SecretStr(nonce),
        code_verifier=SecretStr(verifier),
        code_challenge=challenge,
        parameters=SecretStr(urlencode(parameters, quote_via=quote)),
        proof_key=proof_key,
    )


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The parameters of a redirect: each at most once, none checked yet but for its form."""

    state: SecretStr
    code: SecretStr | None = None
    error: str | None = None
    error_description: str | None = None
    iss: str | None = field(default=None)

    @property
    def grants(self) -> bool:
        """True where there is a code to be exchanged. An error answer's is none (RFC 6749 section 4.1.2.1)."""
        return self.code is not None and self.error is None

    @property
    def is_cancelled(self) -> bool:
        """True where the user declined: Stitch then sends nothing but the state, others `access_denied`."""
        return not self.grants and self.error in (None, "access_denied")


def parse_authorization_response(parameters: Sequence[tuple[str, str]]) -> AuthorizationResponse:
    """Read the query of a redirect. Raises InvalidRequest for what no provider sends (RFC 6749 section 3.1)."""
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
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
