"""The only module that generates random values."""

import itertools
import random
import secrets

# Used for timing only. A separate instance, so that it does not depend on who seeds the random module's own.
_timing_random = random.Random()  # noqa: S311
_PROCESS = secrets.token_hex(6)
_request_count = itertools.count(1)


def random_urlsafe_text() -> str:
    """Return 256 random bits as 43 characters of base64url, for a state, nonce, code verifier or ticket.

    The length satisfies RFC 7636 section 4.1 (43 to 128 characters) and Stitch's 32 to 300 for state and nonce.
    """
    return secrets.token_urlsafe(32)


def random_text(alphabet: str, length: int) -> str:
    """Return `length` characters chosen uniformly from `alphabet`; suitable for secrets."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def random_bytes(length: int) -> bytes:
    """Return `length` random bytes; suitable for keys and nonces."""
    return secrets.token_bytes(length)


def random_factor(low: float, high: float) -> float:
    """Return a number between `low` and `high`; suitable for timing only, never for secrets."""
    return _timing_random.uniform(low, high)


def new_id(prefix: str) -> str:
    """Return an unguessable identifier such as `con_5f0c…`, with 96 random bits."""
    return f"{prefix}_{secrets.token_hex(12)}"


def new_request_id() -> str:
    """Return a unique identifier. It may be guessable, and needs no system call."""
    return f"req_{_PROCESS}{next(_request_count):08x}"
