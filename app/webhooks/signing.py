"""Signs webhook messages according to Standard Webhooks 1.0.0 (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr

from app.base.randomness import random_bytes

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> SecretStr:
    """Return a new secret: `whsec_`, then 256 random bits in base64."""
    return SecretStr(_PREFIX + base64.b64encode(random_bytes(_SECRET_BYTES)).decode())


def signed_headers(secrets: Sequence[SecretStr], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers that a receiver checks, with one signature per secret.

    `timestamp` is the time of this attempt in seconds since 1970.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: SecretStr, signed: bytes) -> str:
    key = base64.b64decode(secret.get_secret_value().removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
