"""Authorization codes: short-lived, for one use."""

import time
from dataclasses import dataclass

from sandbox.oidc.authorization_request import AuthorizationRequest
from sandbox.tokens import Consent, TokenFamily, digest, opaque_token


@dataclass(kw_only=True)
class AuthorizationCode:
    """What a code stands for; with the family once it was exchanged."""

    request: AuthorizationRequest
    consent: Consent
    expires_at: float
    family: TokenFamily | None = None


class CodeStore:
    """Issues codes and finds them again."""

    def __init__(self, *, ttl: int) -> None:
        self._ttl = ttl
        self._codes: dict[str, AuthorizationCode] = {}

    def issue(self, request: AuthorizationRequest, consent: Consent) -> str:
        """Return a new code for what the customer allowed."""
        code = opaque_token()
        self._codes[digest(code)] = AuthorizationCode(
            request=request, consent=consent, expires_at=time.time() + self._ttl
        )
        return code

    def find(self, code: str) -> AuthorizationCode | None:
        """Return what the code stands for, also after its use."""
        return self._codes.get(digest(code))
