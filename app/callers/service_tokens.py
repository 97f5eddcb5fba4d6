"""Validates service tokens: JWTs, signed by an issuer that the operator trusts, that callers send instead of API keys.

Each check has an error code of its own. The broker cannot revoke a token: it is valid until it expires. So its lifetime
is limited. A validated token is cached no longer than an API key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from app.base.clock import Clock
from app.errors import BankError, BrokerUnavailable, ServiceTokenInvalid
from app.oidc.jwt import Claims, numeric_date_claim, parse_header, string_claim, verify_signature
from app.oidc.provider import Provider

LEEWAY = timedelta(seconds=60)
MAX_LIFETIME = timedelta(hours=24)
_MAX_LENGTH = 16_384
# RFC 7519 section 5.1, RFC 9068 section 2.1.
_TYPES = ("jwt", "at+jwt")


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """The bearer of a valid token. `expires_in` is in seconds; within the leeway it is negative."""

    subject: str
    tenant: str
    permissions: frozenset[str]
    expires_in: float


@dataclass(frozen=True, slots=True)
class ServiceTokenRules:
    """The audience that a token must have, and the names of the claims that hold its tenant and permissions."""

    audience: str
    tenant_claim: str
    permissions_claim: str


class ServiceTokens:
    """Validates the tokens of one issuer."""

    def __init__(self, provider: Provider, rules: ServiceTokenRules, clock: Clock) -> None:
        self.provider = provider
        self._rules = rules
        self._clock = clock

    async def validate(self, token: SecretStr) -> ServiceIdentity:
        """Check signature and claims. Raises ServiceTokenInvalid, or BrokerUnavailable if there are no keys."""
        text = token.get_secret_value()
        if len(text) > _MAX_LENGTH:
            raise _invalid("too_large", f"has more than {_MAX_LENGTH} characters")
        header = parse_header(text, _invalid)
        _check_type(header)
        claims = await self._verify_signature(text, header)
        _check_issuer(claims, self.provider.issuer)
        _check_audience(claims, self._rules.audience)
        expires_in = _check_times(claims, self._clock.now().timestamp())
        return ServiceIdentity(
            subject=_string(claims, "sub", "subject"),
            tenant=_string(claims, self._rules.tenant_claim, "tenant"),
            permissions=_permissions(claims, self._rules.permissions_claim),
            expires_in=expires_in,
        )

    async def _verify_signature(self, text: str, header: Claims) -> Claims:
        try:
            return await verify_signature(text, header, self.provider, _invalid)
        except BankError as error:
            # Not UnauthorizedCaller: the token may well be valid.
            raise BrokerUnavailable(
                "the keys of the issuer of service tokens cannot be fetched at the moment; try again",
                code="service_token_keys_unavailable",
                retry_after=1,
            ) from error


def _invalid(check: str, problem: str) -> ServiceTokenInvalid:
    return ServiceTokenInvalid(f"the service token {problem}", code=f"service_token_{check}")


def _check_type(header: Mapping[str, object]) -> None:
    """Reject what the issuer signed for another purpose (RFC 8725 section 3.11)."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise _invalid("type", "has another type than JWT or at+jwt")


def _check_issuer(claims: Claims, issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise _invalid("issuer", "is from another issuer")


def _check_audience(claims: Claims, audience: str) -> None:
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _invalid("audience", "is for another audience")


def _check_times(claims: Claims, now: float) -> float:
    """Return the seconds until the token expires."""
    leeway = LEEWAY.total_seconds()
    expires_at, issued_at, not_before = (numeric_date_claim(claims, name) for name in ("exp", "iat", "nbf"))
    if expires_at is None or expires_at <= now - leeway:
        raise _invalid("expired", "has expired or has no usable claim `exp`")
    if issued_at is None or issued_at > now + leeway:
        raise _invalid("issued_at", "was issued in the future or has no usable claim `iat`")
    if expires_at - issued_at > MAX_LIFETIME.total_seconds():
        raise _invalid("lifetime", f"is valid for more than {MAX_LIFETIME.total_seconds() / 3600:g} hours")
    if "nbf" in claims and (not_before is None or not_before > now + leeway):
        raise _invalid("not_before", "is not valid yet")
    return expires_at - now


def _string(claims: Claims, claim: str, check: str) -> str:
    value = string_claim(claims, claim)
    if value is None:
        raise _invalid(check, f"has no usable claim `{claim}`")
    return value


def _permissions(claims: Claims, claim: str) -> frozenset[str]:
    """Return the permissions in a claim, which is a list or a space-separated string; none if it is missing."""
    granted = claims.get(claim, [])
    words = granted.split() if isinstance(granted, str) else granted
    if not isinstance(words, list):
        raise _invalid("permissions", f"has a claim `{claim}` that is neither a list nor a string")
    return frozenset(word for word in words if isinstance(word, str))
