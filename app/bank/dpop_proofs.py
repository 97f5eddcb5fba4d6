"""DPoP proofs for queries whose access token is bound to a key (RFC 9449 section 7)."""

import re
from typing import Protocol

from pydantic import SecretStr

from app.base.clock import Clock
from app.http_client import HeaderLines, header_lines
from app.oidc.dpop import USE_DPOP_NONCE, ProofFactory, ProofKey, htu_of

_CHALLENGE = re.compile(rf'\bDPoP\b.*\berror="{USE_DPOP_NONCE}"', re.IGNORECASE)


class _Response(Protocol):
    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str | None: ...


class DpopProofs:
    """Creates proofs for the GraphQL endpoint."""

    def __init__(self, graphql_url: str, clock: Clock) -> None:
        self._htu = htu_of(graphql_url)
        self._proofs = ProofFactory(clock)

    def with_proof(self, proof_key: ProofKey, access_token: SecretStr, headers: HeaderLines) -> HeaderLines:
        """Return `headers` after a proof that is valid for one request."""
        return HeaderLines(header_lines([(b"dpop", self.proof(proof_key, access_token).encode())]) + headers)

    def proof(self, proof_key: ProofKey, access_token: SecretStr) -> str:
        """Return a proof that is valid for one request with this token."""
        return self._proofs.new_proof(proof_key, self._htu, access_token)

    def requires_nonce(self, response: _Response) -> bool:
        """Keep the nonce of a response, and return whether the request was rejected for not having it (section 9)."""
        nonce = response.header("dpop-nonce")
        self._proofs.remember_nonce(nonce)
        if nonce is None or response.status != 401:
            return False
        return _CHALLENGE.search(response.header("www-authenticate") or "") is not None
