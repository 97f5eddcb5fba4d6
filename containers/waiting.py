"""Waiting for a condition."""

import time
from collections.abc import Callable

from app.demo.expectations import Unexpected

TIMEOUT_SECONDS = 60.0


def wait_until(
    condition: Callable[[], bool], what: str, *, timeout_seconds: float = TIMEOUT_SECONDS, pause_seconds: float = 0.5
) -> None:
    """Return once the condition is true. Raises Unexpected, which names `what` was awaited, after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unexpected(what, f"it did not happen within {timeout_seconds:g} s")
        time.sleep(pause_seconds)
