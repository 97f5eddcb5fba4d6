"""Waiting for something to become true, with an end to patience that fails loudly and decides no verdict."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE = 60.0


class OutOfPatience(Exception):
    """Something that had to happen did not."""


async def until(
    what: str, holds: Callable[[], bool | Awaitable[bool]], *, patience: float = PATIENCE, pause: float = 0.02
) -> float:
    """Return, with the seconds it took, once `holds()`. Raises OutOfPatience, which says `what` was waited for."""
    began = time.monotonic()
    while True:
        now = holds()
        if await now if inspect.isawaitable(now) else now:
            return time.monotonic() - began
        if time.monotonic() - began > patience:
            raise OutOfPatience(f"waited {patience:g} s for {what}")
        await asyncio.sleep(pause)
