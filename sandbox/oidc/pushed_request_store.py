"""Pushed authorization requests that have not been used yet."""

import secrets
import time

from sandbox.oidc.authorization_request import AuthorizationRequest

LIFETIME_SECONDS = 60
_PREFIX = "urn:ietf:params:oauth:request_uri:"


class PushedRequestStore:
    """Stores requests by `request_uri`, for one use within a minute (RFC 9126, section 7.3)."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[AuthorizationRequest, float]] = {}

    def add(self, request: AuthorizationRequest) -> str:
        """Store a request and return its `request_uri`."""
        request_uri = f"{_PREFIX}{secrets.token_urlsafe(24)}"
        self._requests[request_uri] = (request, time.time() + LIFETIME_SECONDS)
        return request_uri

    def take(self, request_uri: str) -> AuthorizationRequest | None:
        """Remove and return a request, or return None if it is unknown, used or expired."""
        request, expires_at = self._requests.pop(request_uri, (None, 0.0))
        return request if expires_at > time.time() else None

    def expire_all(self) -> None:
        """Expire all requests."""
        self._requests.clear()
