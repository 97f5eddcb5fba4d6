"""Hashes of secrets for storage, and their comparison."""

import hashlib
import hmac


def sha256_hex(value: str) -> str:
    """Return the SHA-256 in hexadecimal. The value must have at least 128 random bits, since no salt is added."""
    return hashlib.sha256(_encode(value)).hexdigest()


def constant_time_equal(left: str, right: str) -> bool:
    """Return whether two secrets are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(_encode(left), _encode(right))


def _encode(value: str) -> bytes:
    # JSON can spell lone surrogates, which UTF-8 cannot encode. They must compare as unequal, not raise.
    return value.encode(errors="surrogatepass")
