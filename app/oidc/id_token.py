"""Validation of id_tokens (OpenID Connect Core 3.1.3.7). Each check is a named step with its own error code.
An optional claim that is null or empty is treated as absent.

Only `validate_id_token` creates VerifiedClaims, so code that takes them cannot be given unchecked ones.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from joserfc.errors import JoseError
from pydantic import SecretStr

from app.base.hashing import constant_time_equal
from app.errors import IdTokenInvalid
from app.oidc.jwt import Claims, numeric_date_claim, parse_header, string_claim, verify_signature
from app.oidc.provider import Provider

LEEWAY = timedelta(seconds=60)
MAX_AGE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ExpectedClaims:
    """What the id_token of one login must contain. Hashes are SHA-256 in hexadecimal; None skips the check."""

    client_id: str
    nonce_sha256: str | None
    state_sha256: str | None
    access_token_sha256: str | None


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """Claims that passed every check."""

    subject: str
    issuer: str


async def validate_id_token(
    id_token: SecretStr, provider: Provider, expected: ExpectedClaims, received_at: datetime
) -> VerifiedClaims:
    """Check the signature and the claims, with times relative to `received_at`, since the keys may be fetched later.

    Raises IdTokenInvalid, or BankError if the keys cannot be fetched.
    """
    token = id_token.get_secret_value()
    claims = await verify_signature(token, parse_header(token, _make_error), provider, _make_error)
    _check_issuer(claims, provider.issuer)
    _check_audience(claims, expected.client_id)
    _check_times(claims, received_at)
    _check_nonce(claims, expected.nonce_sha256)
    _check_hash(claims, "at_hash", expected.access_token_sha256)
    _check_hash(claims, "s_hash", expected.state_sha256)
    return VerifiedClaims(subject=_subject(claims), issuer=provider.issuer)


def unverified_subject(id_token: SecretStr) -> str | None:
    """Return the subject in the id_token of a refresh, or None if it cannot be read.

    A refresh must not depend on the JWKS, so the signature is not checked: the token came directly from the token
    endpoint over TLS (OpenID Connect Core 3.1.3.7 point 6). Use the result only to compare it with the known subject.
    """
    from joserfc import jws

    try:
        payload = json.loads(jws.extract_compact(id_token.get_secret_value().encode()).payload)
    except (JoseError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return string_claim(payload, "sub") if isinstance(payload, dict) else None


def _make_error(check: str, what_is_wrong: str) -> IdTokenInvalid:
    return IdTokenInvalid(f"the id_token {what_is_wrong}", code=f"id_token_{check}")


def _check_issuer(claims: Claims, issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise IdTokenInvalid("the id_token is of another issuer", code="id_token_issuer")


def _check_audience(claims: Claims, client_id: str) -> None:
    audience, authorized_party = claims.get("aud"), claims.get("azp") or None
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
    expires_at, issued_at = numeric_date_claim(claims, "exp"), numeric_date_claim(claims, "iat")
    if expires_at is None or expires_at <= now - leeway:
        raise IdTokenInvalid("the id_token has expired or does not say when it does", code="id_token_expired")
    if issued_at is None or not now - MAX_AGE.total_seconds() - leeway <= issued_at <= now + leeway:
        raise IdTokenInvalid(
            "the id_token was not issued just now; check that this machine's clock is right", code="id_token_issued_at"
        )
    if claims.get("nbf") is not None:
        not_before = numeric_date_claim(claims, "nbf")
        if not_before is None or not_before > now + leeway:
            raise IdTokenInvalid("the id_token is not valid yet", code="id_token_not_before")


def _check_nonce(claims: Claims, nonce_sha256: str | None) -> None:
    if nonce_sha256 is None:
        return
    nonce = string_claim(claims, "nonce")
    if nonce is None or not constant_time_equal(hashlib.sha256(nonce.encode()).hexdigest(), nonce_sha256):
        raise IdTokenInvalid("the id_token answers another login", code="id_token_nonce")


def _check_hash(claims: Claims, name: str, sha256: str | None) -> None:
    """Compare the claim, if there is one, with the left half of a SHA-256 (OpenID Connect Core 3.1.3.6, FAPI 1.0)."""
    if claims.get(name) in (None, "") or sha256 is None:
        return
    value = string_claim(claims, name)
    expected = base64.urlsafe_b64encode(bytes.fromhex(sha256)[:16]).decode().rstrip("=")
    if value is None or not constant_time_equal(value.rstrip("="), expected):
        raise IdTokenInvalid(f"the id_token's {name} does not match", code=f"id_token_{name}")


def _subject(claims: Claims) -> str:
    subject = string_claim(claims, "sub")
    if subject is None:
        raise IdTokenInvalid("the id_token does not say who the user is", code="id_token_subject")
    return subject
