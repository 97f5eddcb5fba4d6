"""Validation of DPoP proofs (RFC 9449, section 4.3)."""

import base64
import hashlib
import secrets
import time

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox.oidc.errors import OAuthError

ALGORITHM = "ES256"
MAX_AGE_SECONDS = 60


class ProofValidator:
    """Validates proofs, and rejects those that were already used."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._nonces = [secrets.token_urlsafe(12)]

    @property
    def nonce(self) -> str:
        """The nonce that the next proofs should contain."""
        return self._nonces[-1]

    def rotate_nonce(self) -> None:
        """Create a new nonce; the previous one is still accepted."""
        self._nonces = [self._nonces[-1], secrets.token_urlsafe(12)]

    def check(self, proof: str, *, target: str, nonce_required: bool, access_token: str | None = None) -> str:
        """Validate a proof for a POST to the URL `target`, and return the thumbprint of its key.

        Raises OAuthError: `invalid_dpop_proof`, or `use_dpop_nonce` if a required nonce is missing or outdated.
        """
        try:
            key = ECKey.import_key(jws.extract_compact(proof.encode()).headers()["jwk"])
            token = jwt.decode(proof, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OAuthError("invalid_dpop_proof", "The proof is not signed with the key in its header.") from error
        claims = token.claims
        expected: dict[str, object] = {"htm": "POST", "htu": target, "ath": access_token and _hash(access_token)}
        if token.header.get("typ") != "dpop+jwt" or "d" in token.header["jwk"]:
            raise OAuthError("invalid_dpop_proof", "The proof has the wrong type, or contains a private key.")
        if any(claims.get(name) != value for name, value in expected.items()):
            raise OAuthError("invalid_dpop_proof", "The proof is for another request.")
        if nonce_required and claims.get("nonce") not in self._nonces:
            raise OAuthError("use_dpop_nonce", "The proof must contain this nonce.", {"dpop-nonce": self.nonce})
        if abs(claims.get("iat", 0) - time.time()) > MAX_AGE_SECONDS or claims.get("jti") in self._used:
            raise OAuthError("invalid_dpop_proof", "The proof is too old or was already used.")
        self._used.add(claims["jti"])
        return key.thumbprint()


def _hash(access_token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()
