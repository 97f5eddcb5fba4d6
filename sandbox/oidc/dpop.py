"""Proofs of possession (DPoP, RFC 9449), checked as section 4.3 has it."""

import base64
import hashlib
import secrets
import time

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sandbox.oidc.errors import OAuthError

ALGORITHM = "ES256"
WINDOW = 60


class ProofChecker:
    """Checks proofs, and remembers those that were used."""

    def __init__(self) -> None:
        self._spent: set[str] = set()
        self._nonces = [secrets.token_urlsafe(12)]

    @property
    def nonce(self) -> str:
        """What the next proofs should hold."""
        return self._nonces[-1]

    def rotate_nonce(self) -> None:
        """Ask for a new nonce; the one before is still taken."""
        self._nonces = [self._nonces[-1], secrets.token_urlsafe(12)]

    def check(self, proof: str, *, target: str, wants_nonce: bool, access_token: str | None = None) -> str:
        """Return the thumbprint of the key that made a proof for a POST to `target`, or raise."""
        try:
            key = ECKey.import_key(jws.extract_compact(proof.encode()).headers()["jwk"])
            token = jwt.decode(proof, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OAuthError("invalid_dpop_proof", "The proof is not signed with its key.") from error
        claims = token.claims
        expected: dict[str, object] = {"htm": "POST", "htu": target, "ath": access_token and _hash(access_token)}
        if token.header.get("typ") != "dpop+jwt" or "d" in token.header["jwk"]:
            raise OAuthError("invalid_dpop_proof", "The proof has the wrong type, or shows its private key.")
        if any(claims.get(name) != value for name, value in expected.items()):
            raise OAuthError("invalid_dpop_proof", "The proof is for another request.")
        if wants_nonce and claims.get("nonce") not in self._nonces:
            raise OAuthError("use_dpop_nonce", "The proof must hold this nonce.", {"dpop-nonce": self.nonce})
        if abs(claims.get("iat", 0) - time.time()) > WINDOW or claims.get("jti") in self._spent:
            raise OAuthError("invalid_dpop_proof", "The proof is not fresh.")
        self._spent.add(claims["jti"])
        return key.thumbprint()


def _hash(access_token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()
