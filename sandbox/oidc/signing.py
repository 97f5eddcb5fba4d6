"""The keys that sign id_tokens, and faults of the signature."""

import hashlib
import hmac
import json
import secrets
from functools import cached_property

from joserfc import jws
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64encode
from pydantic import JsonValue

from sandbox.faults import TokenFault

KEY_SIZE_BITS = 2048


def new_signing_key() -> RSAKey:
    """Generate an RSA key with a random key id."""
    key_id = secrets.token_hex(16).upper()
    return RSAKey.generate_key(KEY_SIZE_BITS, {"kid": key_id, "use": "sig", "alg": "RS256"})


class SigningKeys:
    """The current key, and the previous keys that are still published."""

    def __init__(self) -> None:
        self._first = new_signing_key()
        self.reset()

    def reset(self) -> None:
        """Restore the first key and drop all others."""
        self.current = self._first
        self._previous: list[RSAKey] = []

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with a new key from now on; `keep_old` keeps the old keys published."""
        self._previous = [self.current, *self._previous] if keep_old else []
        self.current = new_signing_key()

    def jwk_set(self) -> dict[str, list[dict[str, str | list[str]]]]:
        """Return the JWK Set (RFC 7517, section 5)."""
        return {"keys": [key.as_dict(private=False) for key in (self.current, *self._previous)]}

    @cached_property
    def unpublished_key(self) -> RSAKey:
        """A key that is never in the JWK Set."""
        return new_signing_key()

    def sign(self, claims: dict[str, JsonValue], fault: TokenFault) -> str:
        """Return a JWT (RFC 7519), signed with RS256 unless the fault changes that."""
        header: dict[str, str] = {"alg": fault.algorithm, "typ": "JWT"}
        if fault.kid != "missing":
            header["kid"] = secrets.token_hex(16) if fault.kid == "unknown" else str(self.current.kid)
        payload = json.dumps(claims)
        match fault.algorithm:
            case "RS256":
                key = self.unpublished_key if fault.signing_key == "other" else self.current
                return jws.serialize_compact(header, payload, key, algorithms=["RS256"])
            case "HS256":
                signed = _signing_input(header, payload)
                tag = hmac.digest(self.current.as_pem(private=False), signed, hashlib.sha256)
                return (signed + b"." + urlsafe_b64encode(tag)).decode()
            case "none":
                return _signing_input(header, payload).decode() + "."


def _signing_input(header: dict[str, str], payload: str) -> bytes:
    # Built by hand, because the library refuses to create such tokens.
    return urlsafe_b64encode(json.dumps(header).encode()) + b"." + urlsafe_b64encode(payload.encode())
