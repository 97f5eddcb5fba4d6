"""The signing keys that a provider publishes (RFC 7517)."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from joserfc.errors import JoseError

from app.errors import BankResponseInvalid

if TYPE_CHECKING:
    from joserfc.jwk import Key

# Importing a key blocks the event loop: longer with longer numbers, and for seconds if it is a private key. So the size
# is limited, and only the public members are imported.
_MAX_KEYS = 100
_PUBLIC_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
# In characters of base64url: a modulus of 8,192 bits, and ample room for any other member.
_MAX_MODULUS_LENGTH, _MAX_MEMBER_LENGTH = 1_366, 255


@dataclass(frozen=True, slots=True, eq=False)
class SigningKeys:
    """The keys of one document. Unlike joserfc's KeySet, it gives no id to a key that is published without one."""

    keys: "tuple[Key, ...]"


def parse_jwks(document: dict[str, object]) -> SigningKeys:
    """Parse a JWKS. Keys that are not supported are ignored (section 5). Raises BankResponseInvalid if none is left."""
    from joserfc.jwk import JWKRegistry

    entries = document.get("keys")
    if not isinstance(entries, list):
        raise BankResponseInvalid("the bank's JWKS has no list of keys")
    keys: list[Key] = []
    for entry in entries[:_MAX_KEYS]:
        with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):
            keys.append(JWKRegistry.import_key(_public_members(entry)))
    if not keys:
        raise BankResponseInvalid("the bank's JWKS has no key that can be used")
    return SigningKeys(tuple(keys))


def _public_members(entry: object) -> dict[str, str | list[str]]:
    """Return the members to import. Raises TypeError or ValueError if the entry is malformed or too large."""
    if not isinstance(entry, dict):
        raise TypeError
    # Some servers write null or "" for a member that the key does not have.
    members = {name: entry[name] for name in _PUBLIC_MEMBERS if entry.get(name) not in (None, "")}
    for name, value in members.items():
        if len(value) > (_MAX_MODULUS_LENGTH if name == "n" else _MAX_MEMBER_LENGTH):
            raise ValueError
    return members
