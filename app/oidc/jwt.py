"""Signed JWTs: their format, algorithm, key and signature (RFC 7515, RFC 7519, RFC 8725).

An id_token and a caller's service token are rejected with different errors. So each check calls `make_error` with its
name and with what is wrong, and raises the result.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from joserfc.errors import BadSignatureError, JoseError

from app.base.strict_json import is_storable_in_postgresql
from app.errors import BrokerError
from app.oidc.jwks import SigningKeys
from app.oidc.provider import Provider

if TYPE_CHECKING:
    from joserfc.jwk import Key
    from joserfc.jws import JWSRegistry

# With their key types. All use SHA-256, so at_hash and s_hash do too. Never "none", never an algorithm with a shared
# secret.
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}

Claims = Mapping[str, object]
MakeError = Callable[[str, str], BrokerError]


@cache
def _registry() -> "JWSRegistry":
    from joserfc.jws import JWSRegistry

    # Unknown header parameters are ignored (RFC 7515 section 4), even long ones: x5c contains certificates.
    registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    registry.max_header_length = 16_384
    return registry


def parse_header(token: str, make_error: MakeError) -> Claims:
    """Return the header, which is not authenticated yet."""
    from joserfc import jws

    try:
        header: object = jws.extract_compact(token.encode(), registry=_registry()).headers()
    except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise make_error("malformed", "is not a signed JWT") from error
    if not isinstance(header, dict):
        raise make_error("malformed", "is not a signed JWT")
    return header


async def verify_signature(token: str, header: Claims, provider: Provider, make_error: MakeError) -> Claims:
    """Return the claims of a token that the provider signed. Raises BankError if its keys cannot be fetched."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise make_error("algorithm", "is signed with an algorithm that is not allowed")
    keys = await provider.signing_keys()
    candidates = _candidate_keys(header, algorithm, keys)
    claims = _claims_if_signed_by(candidates, token, algorithm, make_error)
    if claims is None:
        # The provider may have replaced a key since its keys were fetched, possibly under the same id.
        candidates = _candidate_keys(header, algorithm, await provider.newer_signing_keys(keys))
        claims = _claims_if_signed_by(candidates, token, algorithm, make_error)
    if claims is not None:
        return claims
    if not candidates:
        raise make_error("key", "is signed with a key that its issuer does not publish")
    raise make_error("signature", "has a signature that is not valid")


def _candidate_keys(header: Claims, algorithm: str, keys: SigningKeys) -> "list[Key]":
    """Return the keys that may have signed the token: all usable ones if it has no key id.

    Otherwise those with its id or, if there are none, those without an id.
    """
    usable = [
        key
        for key in keys.keys
        if key.key_type == ALGORITHMS[algorithm]
        and key.get("crv") in (None, "P-256")
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, algorithm)
    ]
    key_id = header.get("kid")
    if not key_id:
        return usable
    return [key for key in usable if key.kid == key_id] or [key for key in usable if not key.kid]


def _claims_if_signed_by(keys: "Sequence[Key]", token: str, algorithm: str, make_error: MakeError) -> Claims | None:
    from joserfc import jwt

    for key in keys:
        try:
            return jwt.decode(token, key, algorithms=[algorithm], registry=_registry()).claims
        except BadSignatureError:
            continue
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise make_error("malformed", "is not a signed JWT") from error
    return None


def numeric_date_claim(claims: Claims, name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), or None if it is missing or not a finite number."""
    value = claims.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def string_claim(claims: Claims, name: str) -> str | None:
    """Return a storable string of 1 to 255 characters, the limit for `sub` (OpenID Connect Core section 2), or None."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 255 and is_storable_in_postgresql(value) else None
