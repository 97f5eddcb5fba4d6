"""What every signed token is checked for first: its form, its algorithm, its key, its signature.

Each check has a name. `refuse` makes of the name and of what is wrong the error that is raised: an id_token and a
caller's token are refused in different words.
"""

import math
from collections.abc import Callable, Mapping

from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jws import JWSRegistry

from app.base.strict_json import is_storable_in_postgresql
from app.errors import BrokerError
from app.oidc.provider import Provider

# All of them hash with SHA-256, as at_hash and s_hash then do. Never "none", never one with a shared secret.
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}

# Parameters that are not understood are ignored (RFC 7515 section 4), however long: x5c, say, has certificates.
_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
_REGISTRY.max_header_length = 16_384

Claims = Mapping[str, object]
Refuse = Callable[[str, str], BrokerError]


def read_header(text: str, refuse: Refuse) -> Claims:
    """Return the header, of which nothing is to be believed yet."""
    try:
        header: object = jws.extract_compact(text.encode(), registry=_REGISTRY).headers()
    except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse("malformed", "is not a signed JWT") from error
    if not isinstance(header, dict):
        raise refuse("malformed", "is not a signed JWT")
    return header


async def verify_signature(text: str, header: Claims, provider: Provider, refuse: Refuse) -> Claims:
    """Return the claims of a token that the provider signed. Raises BankError where its keys cannot be had."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refuse("algorithm", "is signed with an algorithm that is not allowed")
    key = await _find_key(header, algorithm, provider)
    if key is None:
        raise refuse("key", "is signed with a key that its issuer does not publish")
    try:
        return jwt.decode(text, key, algorithms=[algorithm], registry=_REGISTRY).claims
    except BadSignatureError as error:
        raise refuse("signature", "has a signature that is not valid") from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise refuse("malformed", "is not a signed JWT") from error


async def _find_key(header: Claims, algorithm: str, provider: Provider) -> Key | None:
    keys = await provider.keys()
    # The provider may have begun to sign with a new key since we looked.
    return _choose(header, algorithm, keys) or _choose(header, algorithm, await provider.keys(newer_than=keys))


def _choose(header: Claims, algorithm: str, keys: KeySet) -> Key | None:
    """Return the one key that fits: by its id, or where the token names none, the only one of its kind."""
    fitting = [
        key
        for key in keys.keys
        if key.key_type == ALGORITHMS[algorithm]
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, algorithm)
    ]
    if "kid" in header:
        fitting = [key for key in fitting if key.kid == header["kid"]]
    return fitting[0] if len(fitting) == 1 else None


def time_claim(claims: Claims, name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), or None where there is none or it is no moment."""
    value = claims.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) else None


def text_claim(claims: Claims, name: str) -> str | None:
    """Return a text that can be stored and is of 1 to 255 characters, as OpenID Connect Core section 2 has `sub`."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 255 and is_storable_in_postgresql(value) else None
