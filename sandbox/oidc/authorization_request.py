"""Validation of the authorization request, by the rules of Stitch's documentation."""

import re
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams

from sandbox.oidc.errors import InvalidParameterError
from sandbox.settings import SandboxSettings

SCOPES = (
    "openid",
    "offline_access",
    "accounts",
    "transactions",
    "balances",
    "accountholders",
    "paymentinitiationrequest",
)

CODE_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True)
class AuthorizationRequest:
    """A valid authorization request (OpenID Connect Core 1.0, section 3.1.2.1; RFC 7636)."""

    redirect_uri: str
    scope: tuple[str, ...]
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_challenge: str = field(repr=False)
    dpop_jkt: str | None = None
    """The thumbprint of the key that the code is bound to (RFC 9449, section 10)."""


def validate_authorization_request(parameters: QueryParams, settings: SandboxSettings) -> AuthorizationRequest:
    """Return the validated request.

    Raises InvalidParameterError for the first invalid parameter.
    """
    for name in parameters:
        if len(parameters.getlist(name)) > 1:
            raise InvalidParameterError(name, f"Invalid {name}. It was sent more than once.")
    if parameters.get("client_id") != settings.client_id:
        raise InvalidParameterError("client_id", "Invalid client_id. It is not registered.")
    redirect_uri = parameters.get("redirect_uri", "")
    check_redirect_uri(redirect_uri, settings)
    if parameters.get("response_type") != "code":
        raise InvalidParameterError("response_type", "Invalid response_type. Only code is supported.")
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidParameterError("code_challenge_method", "Invalid code_challenge_method. Only S256 is supported.")
    code_challenge = parameters.get("code_challenge", "")
    if CODE_CHALLENGE.fullmatch(code_challenge) is None:
        raise InvalidParameterError(
            "code_challenge", "Invalid code_challenge. It must be 43 characters of unpadded base64url."
        )
    return AuthorizationRequest(
        redirect_uri=redirect_uri,
        scope=_scope(parameters.get("scope", "")),
        state=_random_value(parameters, "state"),
        nonce=_random_value(parameters, "nonce"),
        code_challenge=code_challenge,
        dpop_jkt=parameters.get("dpop_jkt"),
    )


def check_redirect_uri(redirect_uri: str, settings: SandboxSettings) -> None:
    """Raise InvalidParameterError if the redirect URI is not registered."""
    if redirect_uri not in settings.redirect_uris:
        raise InvalidParameterError(
            "redirect_uri",
            "Invalid redirect_uri. It must match one of the client's whitelisted redirect URIs exactly.",
        )


def _scope(value: str) -> tuple[str, ...]:
    scope = tuple(dict.fromkeys(value.split()))
    if "openid" not in scope:
        raise InvalidParameterError("scope", "Invalid scope. It must include openid.")
    unknown = [name for name in scope if name not in SCOPES]
    if unknown:
        raise InvalidParameterError("scope", f"Invalid scope. Unknown: {' '.join(unknown)}.")
    return scope


def _random_value(parameters: QueryParams, name: str) -> str:
    value = parameters.get(name, "")
    if not 32 <= len(value) <= 300:
        raise InvalidParameterError(name, f"Invalid {name}. It must be 32 to 300 characters long.")
    return value
