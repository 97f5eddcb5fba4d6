"""Proofs that the sender of a token holds the key that it is bound to (DPoP, RFC 9449)."""

import base64
import hashlib
import json
from functools import cached_property
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr

from app.base.clock import Clock
from app.base.randomness import random_urlsafe_text

ALGORITHM = "ES256"
NONCE_WANTED = "use_dpop_nonce"
_CURVE = "P-256"
# A server may name any; this keeps a mad one from filling every request.
_LONGEST_NONCE = 1_024


class ProofKey:
    """A private key that tokens are bound to. It does not print."""

    def __init__(self, key: ECKey) -> None:
        self._key = key

    @classmethod
    def new(cls) -> "ProofKey":
        """Draw a key."""
        return cls(ECKey.generate_key(_CURVE))

    @classmethod
    def parse(cls, secret: SecretStr) -> "ProofKey":
        """Read what `secret` has written."""
        return cls(ECKey.import_key(json.loads(secret.get_secret_value())))

    @property
    def secret(self) -> SecretStr:
        """The key as a JWK, to be stored encrypted."""
        return SecretStr(json.dumps(self._key.as_dict(private=True)))

    @property
    def thumbprint(self) -> str:
        """What the authorization request announces as `dpop_jkt` (RFC 9449 section 10, RFC 7638)."""
        return self._key.thumbprint()

    @cached_property
    def _header(self) -> dict[str, object]:
        return {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self._key.as_dict(private=False)}

    def sign(self, claims: dict[str, object]) -> str:
        """Return a proof of these claims."""
        return jwt.encode(dict(self._header), claims, self._key, algorithms=[ALGORITHM])


class Prover:
    """Makes the proofs for one server, and remembers which nonce it wants to see in the next one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nonce: str | None = None

    def proof(self, key: ProofKey, target: str, access_token: SecretStr | None = None) -> str:
        """Return a proof for one POST to `target`, with the access token that goes along (RFC 9449 section 4.2)."""
        claims: dict[str, object] = {
            "jti": random_urlsafe_text(),
            "htm": "POST",
            "htu": target,
            "iat": int(self._clock.now().timestamp()),
        }
        if access_token is not None:
            claims["ath"] = _base64url(hashlib.sha256(access_token.get_secret_value().encode()).digest())
        if self._nonce is not None:
            claims["nonce"] = self._nonce
        return key.sign(claims)

    def heed(self, nonce: str | None) -> None:
        """Remember the `DPoP-Nonce` of an answer, whatever the answer (RFC 9449 section 8.2)."""
        if nonce and len(nonce) <= _LONGEST_NONCE:
            self._nonce = nonce


def target_of(url: str) -> str:
    """Return the address without query and fragment, as `htu` has it."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
