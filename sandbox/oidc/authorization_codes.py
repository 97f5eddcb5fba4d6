"""Authorization codes: short-lived and single-use."""

import time
from dataclasses import dataclass

from sandbox.oidc.authorization_request import AuthorizationRequest
from sandbox.tokens import Consent, TokenFamily, digest, generate_token


@dataclass(kw_only=True)
class AuthorizationCode:
    """The stored data of a code. `family` is set once the code was exchanged."""

    request: AuthorizationRequest
    consent: Consent
    expires_at: float
    family: TokenFamily | None = None


class AuthorizationCodeStore:
    """Issues codes that expire after `ttl` seconds, and looks them up."""

    def __init__(self, *, ttl: int) -> None:
        self._ttl = ttl
        self._codes: dict[str, AuthorizationCode] = {}

    def issue(self, request: AuthorizationRequest, consent: Consent) -> str:
        """Return a new code for a consent."""
        code = generate_token()
        self._codes[digest(code)] = AuthorizationCode(
            request=request, consent=consent, expires_at=time.time() + self._ttl
        )
        return code

    def find(self, code: str) -> AuthorizationCode | None:
        """Return the data of a code, used or not, or None if it is unknown."""
        return self._codes.get(digest(code))
