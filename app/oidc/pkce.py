"""Proof Key for Code Exchange with the method S256 (RFC 7636)."""

import base64
import hashlib
import re

from app.errors import InvalidRequest

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def check_verifier(verifier: str) -> None:
    """Raise InvalidRequest unless the verifier has the form of section 4.1."""
    if not _VERIFIER.fullmatch(verifier):
        raise InvalidRequest("a code_verifier has 43 to 128 characters of A-Z a-z 0-9 - . _ ~")
