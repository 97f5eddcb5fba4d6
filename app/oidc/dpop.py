"""Proofs that the sender of a token has the key that the token is bound to (DPoP, RFC 9449)."""

import base64
import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.base.clock import Clock
from app.base.randomness import random_urlsafe_text

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

ALGORITHM = "ES256"
USE_DPOP_NONCE = "use_dpop_nonce"
_CURVE = "P-256"
# Nonces have no maximum length; this keeps a misbehaving server from filling every request.
_MAX_NONCE_LENGTH = 1_024


class ProofKey:
    """A private key that tokens are bound to. Its `repr` does not show it."""

    def __init__(self, key: "ECKey") -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "ProofKey":
        """Generate a new key."""
        from joserfc.jwk import ECKey

        return cls(ECKey.generate_key(_CURVE))

    @classmethod
    def from_private_jwk(cls, jwk: SecretStr) -> "ProofKey":
        """Return the key of a `private_jwk`."""
        from joserfc.jwk import ECKey

        return cls(ECKey.import_key(json.loads(jwk.get_secret_value())))

    @property
    def private_jwk(self) -> SecretStr:
        """The private key as a JWK, to be stored encrypted."""
        return SecretStr(json.dumps(self._key.as_dict(private=True)))

    @property
    def thumbprint(self) -> str:
        """The `dpop_jkt` of the authorization request (RFC 9449 section 10, RFC 7638)."""
        return self._key.thumbprint()

    @cached_property
    def _header(self) -> dict[str, object]:
        return {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self._key.as_dict(private=False)}

    def sign(self, claims: dict[str, object]) -> str:
        """Return a proof with these claims."""
        from joserfc import jwt

        return jwt.encode(dict(self._header), claims, self._key, algorithms=[ALGORITHM])


class ProofFactory:
    """Creates the proofs for one server, with the latest nonce that it sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nonce: str | None = None

    def new_proof(self, key: ProofKey, htu: str, access_token: SecretStr | None = None) -> str:
        """Return a proof for one POST request to `htu`, for the access token if it has one (RFC 9449 section 4.2)."""
        claims: dict[str, object] = {
            "jti": random_urlsafe_text(),
            "htm": "POST",
            "htu": htu,
            "iat": int(self._clock.now().timestamp()),
        }
        if access_token is not None:
            claims["ath"] = _base64url(hashlib.sha256(access_token.get_secret_value().encode()).digest())
        if self._nonce is not None:
            claims["nonce"] = self._nonce
        return key.sign(claims)

    def remember_nonce(self, nonce: str | None) -> None:
        """Use the `DPoP-Nonce` of a response, of any status, in the next proofs (RFC 9449 section 8.2)."""
        if nonce and len(nonce) <= _MAX_NONCE_LENGTH:
            self._nonce = nonce


def htu_of(url: str) -> str:
    """Return a URL without query and fragment, for the claim `htu`."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
