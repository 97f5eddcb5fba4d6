"""The successful response of the token endpoint (RFC 6749 section 5.1)."""

import math
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.strict_json import is_storable_in_postgresql
from app.errors import BankResponseInvalid
from app.oidc.response_body import parse_json_object

# In seconds. If the bank sends no usable lifetime: short enough to be safe, long enough to be useful.
_DEFAULT_LIFETIME = 300
_MAX_LIFETIME = 86_400


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The tokens and what the bank says about them. Only their form has been checked. `lifetime` is in seconds."""

    access_token: SecretStr | None = field(repr=False)
    refresh_token: SecretStr | None = field(repr=False)
    id_token: SecretStr | None = field(repr=False)
    lifetime: int
    token_type: str
    scopes: list[str] | None
    proof_key: SecretStr | None = field(default=None, repr=False)
    """The private key that the access token is bound to (a JWK), or None if it is a bearer token."""


def parse_token_response(body: SecretStr, proof_key: SecretStr | None = None) -> TokenResponse:
    """Parse a token response leniently. `proof_key` is the private JWK of the request's DPoP proof.

    The response's `token_type` says whether the access token is bound to the key (RFC 9449 section 5).

    A detail must never cost a rotated refresh token, so only a body without tokens raises BankResponseInvalid.
    """
    try:
        members = parse_json_object(body.get_secret_value())
    except ValueError as error:
        raise BankResponseInvalid("the bank's token response is not a JSON object") from error
    access_token, refresh_token = _token(members, "access_token"), _token(members, "refresh_token")
    if access_token is None and refresh_token is None:
        raise BankResponseInvalid("the bank's token response has no token")
    scope, token_type = members.get("scope"), members.get("token_type")
    token_type = token_type if isinstance(token_type, str) else ""
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token,
        id_token=_token(members, "id_token"),
        lifetime=_lifetime(members.get("expires_in")),
        token_type=token_type,
        scopes=scope.split() if isinstance(scope, str) and is_storable_in_postgresql(scope) else None,
        proof_key=proof_key if token_type.lower() == "dpop" else None,
    )


def _token(members: dict[str, object], name: str) -> SecretStr | None:
    value = members.get(name)
    # Tokens are printable ASCII (RFC 6749 appendix A), and become part of header lines.
    is_token = isinstance(value, str) and value and value.isascii() and value.isprintable()
    return SecretStr(str(value)) if is_token else None


def _lifetime(value: object) -> int:
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        seconds = math.nan
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        return _DEFAULT_LIFETIME
    return int(min(max(seconds, 0.0), _MAX_LIFETIME))
