"""The one place where randomness is made, and where secrets are digested for storage."""

import hashlib
import hmac
import itertools
import random
import secrets


def opaque_value() -> str:
    """Return 256 bits as 43 characters of base64url: a state, nonce, verifier or ticket.

    The length satisfies RFC 7636 section 4.1 (43 to 128 characters) and Stitch's 32 to 300 for state and nonce.
    """
    return secrets.token_urlsafe(32)


def identifier(prefix: str) -> str:
    """Return an unguessable identifier such as `con_5f0c…`, with 96 random bits."""
    return f"{prefix}_{secrets.token_hex(12)}"


# Spreads load and guards nothing; its own, so that nobody who seeds or watches the module's is disturbed.
_SPREAD = random.Random()  # noqa: S311
# Beyond this, powers of two soon have no floating-point number.
_MOST_DOUBLINGS = 64
_PROCESS = secrets.token_hex(6)
_count = itertools.count(1)


def request_identifier() -> str:
    """Return an identifier that no other process gives out; it need not be unguessable, and costs no system call."""
    return f"req_{_PROCESS}{next(_count):08x}"


def random_bytes(length: int) -> bytes:
    """Return `length` bytes fit for keys and nonces."""
    return secrets.token_bytes(length)


def random_text(alphabet: str, length: int) -> str:
    """Return `length` characters drawn evenly from `alphabet`, fit for secrets."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def jitter(seconds: float) -> float:
    """Return between half and all of `seconds`, so that replicas do not act in step."""
    return seconds * _SPREAD.uniform(0.5, 1.0)


def back_off(failures: int, *, first: float, longest: float) -> float:
    """Return the pause in seconds after so many failures before this one: `first`, doubled each time, up to `longest`.

    The count may grow without bound: an outage of days is one.
    """
    return jitter(min(first * 2.0 ** min(failures, _MOST_DOUBLINGS), longest))


def digest(value: str) -> str:
    """Return the SHA-256 of a value that has at least 128 random bits, in hexadecimal."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(_bytes(left), _bytes(right))


def _bytes(value: str) -> bytes:
    # What comes from JSON may hold half a surrogate pair; it is simply not the same.
    return value.encode(errors="surrogatepass")
