"""Waiting for a condition, so that no test depends on how long something takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

_TIMEOUT_SECONDS = 20.0
_PAUSE_SECONDS = 0.01


async def eventually(condition: Callable[[], Awaitable[Found]], *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Found:
    """Call `condition` until its result is true, and return the result. Raises TimeoutError, which fails the test."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(_PAUSE_SECONDS)
