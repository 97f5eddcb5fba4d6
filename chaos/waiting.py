"""Waits for a condition, with a timeout that ends the scenario."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

WAIT_TIMEOUT = 60.0  # seconds


class WaitTimeout(Exception):
    """A condition did not become true in time."""


async def until(
    what: str,
    holds: Callable[[], bool | Awaitable[bool]],
    *,
    timeout_seconds: float = WAIT_TIMEOUT,
    pause: float = 0.02,
) -> float:
    """Return once `holds()` is true, with the seconds it took. Raises WaitTimeout, whose message contains `what`."""
    began = time.monotonic()
    while True:
        now = holds()
        if await now if inspect.isawaitable(now) else now:
            return time.monotonic() - began
        if time.monotonic() - began > timeout_seconds:
            raise WaitTimeout(f"waited {timeout_seconds:g} s for {what}")
        await asyncio.sleep(pause)
