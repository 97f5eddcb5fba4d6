"""The signing keys that a provider publishes (RFC 7517)."""

import contextlib

from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from app.errors import BankResponseInvalid

# Reading one takes a while, in which nobody else is served: the more the longer its numbers are, and very long where
# it is a private one, of which only the public part is read.
_MOST_KEYS = 100
_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
# In base64url: a modulus of 8,192 bits, and as much as any other member needs.
_LONGEST_MODULUS, _LONGEST_MEMBER = 1_366, 255


def read_keys(document: dict[str, object]) -> KeySet:
    """Read a JWKS. Keys of kinds that are not supported are ignored (section 5). Raises BankResponseInvalid."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise BankResponseInvalid("the bank's JWKS has no list of keys")
    keys: list[Key] = []
    for entry in entries[:_MOST_KEYS]:
        with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):
            keys += KeySet.import_key_set({"keys": [_public_part(entry)]}).keys
    if not keys:
        raise BankResponseInvalid("the bank's JWKS has no key that can be used")
    return KeySet(keys)


def _public_part(entry: object) -> dict[str, str | list[str]]:
    """Return the members that matter here. Raises TypeError or ValueError where they cannot be read in passing."""
    if not isinstance(entry, dict):
        raise TypeError
    public = {name: entry[name] for name in _MEMBERS if name in entry}
    for name, value in public.items():
        if len(value) > (_LONGEST_MODULUS if name == "n" else _LONGEST_MEMBER):
            raise ValueError
    return public
