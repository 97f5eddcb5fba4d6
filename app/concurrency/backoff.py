"""Pauses between attempts, randomised so that replicas do not act in step."""

from app.base.randomness import random_factor

# 2.0 ** failures would soon be too large for a float.
_MAX_DOUBLINGS = 64


def with_jitter(seconds: float) -> float:
    """Return between half and all of `seconds`."""
    return random_factor(seconds / 2, seconds)


def exponential_backoff(failures: int, *, initial: float, maximum: float) -> float:
    """Return the pause in seconds after `failures` earlier failures: `initial`, doubled each time, up to `maximum`.

    The result has jitter. `failures` may be any number: an outage of days causes many.
    """
    return with_jitter(min(initial * 2.0 ** min(failures, _MAX_DOUBLINGS), maximum))
