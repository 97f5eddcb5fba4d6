"""Validation of an id_token (OpenID Connect Core 3.1.3.7), each check a named step with a code of its own.

Nothing but `validate_id_token` makes VerifiedClaims, so code that asks for them cannot be handed unchecked ones.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from joserfc import jws
from joserfc.errors import JoseError
from pydantic import SecretStr

from app.base.hashing import constant_time_equal
from app.errors import IdTokenInvalid
from app.oidc.jwt import Claims, read_header, text_claim, time_claim, verify_signature
from app.oidc.provider import Provider

LEEWAY = timedelta(seconds=60)
MAX_AGE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the id_token of one login must say. Digests are SHA-256 in hexadecimal; None where a refresh has none."""

    client_id: str
    nonce_digest: str | None
    state_digest: str | None
    access_token_digest: str | None


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """Claims that passed every check."""

    subject: str
    issuer: str


async def validate_id_token(
    id_token: SecretStr, provider: Provider, expected: Expectations, received_at: datetime
) -> VerifiedClaims:
    """Check signature and claims, the times as of `received_at`: the keys may come only later.

    Raises IdTokenInvalid; BankError where the keys cannot be had.
    """
    text = id_token.get_secret_value()
    claims = await verify_signature(text, read_header(text, _refused), provider, _refused)
    _check_issuer(claims, provider.issuer)
    _check_audience(claims, expected.client_id)
    _check_times(claims, received_at)
    _check_nonce(claims, expected.nonce_digest)
    _check_hash(claims, "at_hash", expected.access_token_digest)
    _check_hash(claims, "s_hash", expected.state_digest)
    return VerifiedClaims(subject=_subject(claims), issuer=provider.issuer)


def subject_of(id_token: SecretStr) -> str | None:
    """Return whom the id_token of a refresh names, or None where it cannot be read.

    It came straight from the token endpoint over TLS, which may stand for its signature (OpenID Connect Core 3.1.3.7
    point 6): a refresh must not depend on the JWKS. Nothing but a comparison with the known subject is done with it.
    """
    try:
        payload = json.loads(jws.extract_compact(id_token.get_secret_value().encode()).payload)
    except (JoseError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return text_claim(payload, "sub") if isinstance(payload, dict) else None


def _refused(check: str, what_is_wrong: str) -> IdTokenInvalid:
    return IdTokenInvalid(f"the id_token {what_is_wrong}", code=f"id_token_{check}")


def _check_issuer(claims: Claims, issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise IdTokenInvalid("the id_token is of another issuer", code="id_token_issuer")


def _check_audience(claims: Claims, client_id: str) -> None:
    audience, authorized_party = claims.get("aud"), claims.get("azp")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise IdTokenInvalid("the id_token is for another client", code="id_token_audience")
    if len(audiences) > 1 and authorized_party is None:
        raise IdTokenInvalid("the id_token has several audiences and no azp", code="id_token_authorized_party")
    if authorized_party is not None and authorized_party != client_id:
        raise IdTokenInvalid("the id_token was issued to another client", code="id_token_authorized_party")


def _check_times(claims: Claims, received_at: datetime) -> None:
    now = received_at.timestamp()
    leeway = LEEWAY.total_seconds()
    expires_at, issued_at = time_claim(claims, "exp"), time_claim(claims, "iat")
    if expires_at is None or expires_at <= now - leeway:
        raise IdTokenInvalid("the id_token has expired or does not say when it does", code="id_token_expired")
    if issued_at is None or not now - MAX_AGE.total_seconds() - leeway <= issued_at <= now + leeway:
        raise IdTokenInvalid(
            "the id_token was not issued just now; check that this machine's clock is right", code="id_token_issued_at"
        )
    if "nbf" in claims and (not_before := time_claim(claims, "nbf")) is not None and not_before <= now + leeway:
        return
    if "nbf" in claims:
        raise IdTokenInvalid("the id_token is not valid yet", code="id_token_not_before")


def _check_nonce(claims: Claims, nonce_digest: str | None) -> None:
    if nonce_digest is None:
        return
    nonce = text_claim(claims, "nonce")
    if nonce is None or not constant_time_equal(hashlib.sha256(nonce.encode()).hexdigest(), nonce_digest):
        raise IdTokenInvalid("the id_token answers another login", code="id_token_nonce")


def _check_hash(claims: Claims, name: str, digest: str | None) -> None:
    """Compare with the left half of a SHA-256, where the token has one (OpenID Connect Core 3.1.3.6, FAPI 1.0)."""
    if name not in claims or digest is None:
        return
    value = text_claim(claims, name)
    expected = base64.urlsafe_b64encode(bytes.fromhex(digest)[:16]).decode().rstrip("=")
    if value is None or not constant_time_equal(value.rstrip("="), expected):
        raise IdTokenInvalid(f"the id_token's {name} does not match", code=f"id_token_{name}")


def _subject(claims: Claims) -> str:
    subject = text_claim(claims, "sub")
    if subject is None:
        raise IdTokenInvalid("the id_token does not say who the user is", code="id_token_subject")
    return subject
