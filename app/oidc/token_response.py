"""The successful response of the token endpoint (RFC 6749 section 5.1)."""

import math
import re
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.strict_json import is_storable_in_postgresql
from app.errors import BankResponseInvalid
from app.oidc.response_body import parse_json_object

_MAX_LIFETIME = 10 * 365 * 86_400  # seconds; longer ones could not be stored
_SCOPE_SEPARATORS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The tokens and what the bank says about them. Only their form has been checked."""

    access_token: SecretStr | None = field(repr=False)
    refresh_token: SecretStr | None = field(repr=False)
    id_token: SecretStr | None = field(repr=False)
    lifetime: int | None
    """The access token's lifetime in seconds. None if it is unknown: the token is used until the bank rejects it."""
    token_type: str
    scopes: list[str] | None
    """None if the bank does not say: then the requested scopes are granted (RFC 6749 section 5.1)."""
    proof_key: SecretStr | None = field(default=None, repr=False)
    """The private key that the access token is bound to (a JWK), or None if it is a bearer token."""


def parse_token_response(body: SecretStr, proof_key: SecretStr | None = None) -> TokenResponse:
    """Parse a token response leniently. `proof_key` is the private JWK of the request's DPoP proof.

    An optional member that is null or empty is treated as absent. A missing `token_type` means Bearer.

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
    token_type = members.get("token_type") or "Bearer"
    token_type = token_type if isinstance(token_type, str) else ""
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token,
        id_token=_token(members, "id_token"),
        lifetime=_lifetime(members.get("expires_in")),
        token_type=token_type,
        scopes=_scopes(members.get("scope")),
        proof_key=proof_key if token_type.lower() == "dpop" else None,
    )


def _token(members: dict[str, object], name: str) -> SecretStr | None:
    value = members.get(name)
    # Tokens are printable ASCII (RFC 6749 appendix A), and become part of header lines.
    is_token = isinstance(value, str) and value and value.isascii() and value.isprintable()
    return SecretStr(str(value)) if is_token else None


def _scopes(value: object) -> list[str] | None:
    """Accept a string with spaces, as RFC 6749 section 3.3 requires, or commas, and a list of strings."""
    strings = value if isinstance(value, list) else [value]
    names = [name for text in strings if isinstance(text, str) for name in _SCOPE_SEPARATORS.split(text)]
    return list(dict.fromkeys(name for name in names if name and is_storable_in_postgresql(name))) or None


def _lifetime(value: object) -> int | None:
    """Return a positive number of seconds, which may be a string, or None."""
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    except OverflowError:
        seconds = _MAX_LIFETIME if int(value) > 0 else 0
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return max(int(min(seconds, _MAX_LIFETIME)), 1)
