"""The `session_state` of the authorization response."""

import base64
import hashlib
import secrets
from urllib.parse import urlsplit

from sandbox.settings import SandboxSettings
from sandbox.tokens import Consent


def session_state(settings: SandboxSettings, consent: Consent) -> str:
    """Return a salted hash of client, origin and session (OpenID Connect Session Management 1.0, section 2)."""
    issuer = urlsplit(settings.issuer)
    salt = secrets.token_hex(16).upper()
    hashed = f"{settings.client_id} {issuer.scheme}://{issuer.netloc} {consent.session_id} {salt}"
    return f"{base64.urlsafe_b64encode(hashlib.sha256(hashed.encode()).digest()).rstrip(b'=').decode()}.{salt}"
