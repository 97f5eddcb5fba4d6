"""Where pushed requests wait for their browser."""

import secrets
import time

from sandbox.oidc.authorization_request import AuthorizationRequest

LIFETIME = 60
_PREFIX = "urn:ietf:params:oauth:request_uri:"


class PushedRequests:
    """Requests by their `request_uri`: for one use, and a minute (RFC 9126, section 7.3)."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[AuthorizationRequest, float]] = {}

    def keep(self, request: AuthorizationRequest) -> str:
        """Keep a request and return its `request_uri`."""
        request_uri = f"{_PREFIX}{secrets.token_urlsafe(24)}"
        self._waiting[request_uri] = (request, time.time() + LIFETIME)
        return request_uri

    def take(self, request_uri: str) -> AuthorizationRequest | None:
        """Return a request that nobody has taken yet, in time."""
        request, expires_at = self._waiting.pop(request_uri, (None, 0.0))
        return request if expires_at > time.time() else None

    def lapse(self) -> None:
        """Let the time of all be over."""
        self._waiting.clear()
