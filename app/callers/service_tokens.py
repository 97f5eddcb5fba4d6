"""Callers' service tokens: signed JWTs of an issuer that the operator trusts, in place of API keys.

Each check is a named step with a code of its own. A token cannot be revoked here: it is good until it expires, and the
broker remembers one for no longer than it remembers API keys. So its lifetime is bounded.
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
    """What a token that passed every check says of its bearer. `expires_in` is in seconds, and may have passed."""

    subject: str
    tenant: str
    permissions: frozenset[str]
    expires_in: float


@dataclass(frozen=True, slots=True)
class ServiceTokenRules:
    """What a token must say, and where it says whom it stands for."""

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
        """Check signature and claims. Raises ServiceTokenInvalid; BrokerUnavailable where the keys cannot be had."""
        text = token.get_secret_value()
        if len(text) > _MAX_LENGTH:
            raise _refused("too_large", f"has more than {_MAX_LENGTH} characters")
        header = parse_header(text, _refused)
        _check_type(header)
        claims = await self._verify_signature(text, header)
        _check_issuer(claims, self.provider.issuer)
        _check_audience(claims, self._rules.audience)
        expires_in = _check_times(claims, self._clock.now().timestamp())
        return ServiceIdentity(
            subject=_text(claims, "sub", "subject"),
            tenant=_text(claims, self._rules.tenant_claim, "tenant"),
            permissions=_permissions(claims, self._rules.permissions_claim),
            expires_in=expires_in,
        )

    async def _verify_signature(self, text: str, header: Claims) -> Claims:
        try:
            return await verify_signature(text, header, self.provider, _refused)
        except BankError as error:
            # Nothing is wrong with the caller, as far as is known.
            raise BrokerUnavailable(
                "the keys of the service tokens' issuer cannot be had at the moment; try again",
                code="service_token_keys_unavailable",
                retry_after=1,
            ) from error


def _refused(check: str, what_is_wrong: str) -> ServiceTokenInvalid:
    return ServiceTokenInvalid(f"the service token {what_is_wrong}", code=f"service_token_{check}")


def _check_type(header: Mapping[str, object]) -> None:
    """Refuse what the issuer signed for another purpose (RFC 8725 section 3.11)."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise _refused("type", "is of another type than JWT or at+jwt")


def _check_issuer(claims: Claims, issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise _refused("issuer", "is of another issuer")


def _check_audience(claims: Claims, audience: str) -> None:
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise _refused("audience", "is for another audience")


def _check_times(claims: Claims, now: float) -> float:
    """Return the seconds until the token expires."""
    leeway = LEEWAY.total_seconds()
    expires_at, issued_at, not_before = (numeric_date_claim(claims, name) for name in ("exp", "iat", "nbf"))
    if expires_at is None or expires_at <= now - leeway:
        raise _refused("expired", "has expired or does not say when it does")
    if issued_at is None or issued_at > now + leeway:
        raise _refused("issued_at", "does not say when it was issued, or names a time to come")
    if expires_at - issued_at > MAX_LIFETIME.total_seconds():
        raise _refused("lifetime", f"lives for longer than {MAX_LIFETIME.total_seconds() / 3600:g} hours")
    if "nbf" in claims and (not_before is None or not_before > now + leeway):
        raise _refused("not_before", "is not valid yet")
    return expires_at - now


def _text(claims: Claims, claim: str, check: str) -> str:
    value = string_claim(claims, claim)
    if value is None:
        raise _refused(check, f"has no usable claim `{claim}`")
    return value


def _permissions(claims: Claims, claim: str) -> frozenset[str]:
    """Return what the token grants, be it a list or a text with spaces; nothing where it says nothing."""
    granted = claims.get(claim, [])
    words = granted.split() if isinstance(granted, str) else granted
    if not isinstance(words, list):
        raise _refused("permissions", f"has a claim `{claim}` that is neither a list nor a text")
    return frozenset(word for word in words if isinstance(word, str))
