"""The id_token (OpenID Connect Core 1.0, section 2) with the claims that Stitch sends."""

import base64
import hashlib
import time

from pydantic import JsonValue

from sandbox.bank import Bank
from sandbox.faults import TokenFault, override
from sandbox.tokens import Consent

LIFETIME_SECONDS = 300


def create_id_token(
    bank: Bank,
    consent: Consent,
    *,
    access_token: str,
    fault: TokenFault,
    nonce: str | None = None,
    state: str | None = None,
) -> str:
    """Return a signed id_token; `nonce` and `state` are absent on refresh (Core, section 12.2)."""
    now = int(time.time())
    claims: dict[str, JsonValue] = {
        "iss": bank.settings.issuer,
        "aud": bank.settings.client_id,
        "exp": now + LIFETIME_SECONDS,
        "nbf": now,
        "iat": now,
        "nonce": nonce,
        "at_hash": left_half_hash(access_token),
        "s_hash": left_half_hash(state) if state is not None else None,
        "sid": consent.session_id,
        "sub": consent.sub,
        "auth_time": consent.authenticated_at,
        "idp": consent.bank_id,
        "amr": ["pwd"],
    }
    present: dict[str, JsonValue] = {name: value for name, value in claims.items() if value is not None}
    return bank.signing_keys.sign(override(present, fault.claims), fault)


def left_half_hash(value: str) -> str:
    """Return the value of `at_hash` or `s_hash` for RS256 (Core, section 3.1.3.6)."""
    left_half = hashlib.sha256(value.encode("ascii")).digest()[:16]
    return base64.urlsafe_b64encode(left_half).rstrip(b"=").decode()
