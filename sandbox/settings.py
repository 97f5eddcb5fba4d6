"""The settings of the sandbox, and their defaults."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

CLIENT_ID = "test-8f0f6c1e-2d5c-4a53-9f0e-6b7b6f3a9d10"

# Standard base64 like Stitch's secrets: a client that does not form-encode it fails.
CLIENT_SECRET = "Zk3+8tY/pQ7nV1hS2kD4wXe5RgU9b+mJaAcFo/TiLyM="  # noqa: S105  # gitleaks:allow

OTHER_CLIENT_ID = "test-2b9d0a44-71c3-4e0e-9a39-4f2f6f0f7c55"
OTHER_CLIENT_SECRET = "q8Vd1nTz5rYw0KfXb7LhPs3mCg9uJeRo2AiE6xNtBvQ="  # noqa: S105  # gitleaks:allow

REDIRECT_URIS = (
    "http://127.0.0.1:8000/callback",
    "http://localhost:8000/callback",
    "http://127.0.0.1:8000/connect/interactions",
    "http://localhost:8000/connect/interactions",
)


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """The registered client, and the parameters of the bank. Lifetimes are in seconds."""

    issuer: str = "http://127.0.0.1:9000"
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    other_client_id: str = OTHER_CLIENT_ID
    """A second registered client. It can authenticate, and no grant belongs to it."""
    other_client_secret: str = OTHER_CLIENT_SECRET
    redirect_uris: tuple[str, ...] = REDIRECT_URIS
    client_jwks_file: Path | None = None
    """The client's public keys, for `private_key_jwt`."""
    access_token_ttl: int = 900
    authorization_code_ttl: int = 60
    refresh_reuse_grace: float = 0
    """For how many seconds a used refresh token is still accepted; 0 detects reuse at once."""
    payment_limit: Decimal = Decimal(1000)
    """Payments above it need the user's approval on a page of the bank."""
