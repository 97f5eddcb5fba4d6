"""What goes with a query whose token is bound to a key: a proof, made for this one request (RFC 9449 section 7)."""

import re
from typing import Protocol

from pydantic import SecretStr

from app.base.clock import Clock
from app.http_client import HeaderLines, header_lines
from app.oidc.dpop import USE_DPOP_NONCE, ProofFactory, ProofKey, htu_of

_CHALLENGE = re.compile(rf'\bDPoP\b.*\berror="{USE_DPOP_NONCE}"', re.IGNORECASE)


class _Answer(Protocol):
    """What is looked at of an answer."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str | None: ...


class DpopProofs:
    """Makes the proofs for the one GraphQL address."""

    def __init__(self, graphql_url: str, clock: Clock) -> None:
        self._htu = htu_of(graphql_url)
        self._proofs = ProofFactory(clock)

    def with_proof(self, proof_key: ProofKey, access_token: SecretStr, headers: HeaderLines) -> HeaderLines:
        """Return the headers with a proof before them, which serves one request."""
        proof = self._proofs.new_proof(proof_key, self._htu, access_token)
        return HeaderLines(header_lines([(b"dpop", proof.encode())]) + headers)

    def wants_nonce(self, answer: _Answer) -> bool:
        """Remember the nonce of an answer, and tell whether it was refused for the lack of it (section 9)."""
        nonce = answer.header("dpop-nonce")
        self._proofs.remember_nonce(nonce)
        if nonce is None or answer.status != 401:
            return False
        return _CHALLENGE.search(answer.header("www-authenticate") or "") is not None
