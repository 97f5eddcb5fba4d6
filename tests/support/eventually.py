"""Waiting for what must come, without a test ever being decided by how long it took."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

_PATIENCE = 20.0
_PAUSE = 0.01


async def eventually(look: Callable[[], Awaitable[Found]], *, patience: float = _PATIENCE) -> Found:
    """Look again and again until something true is found, and return it. A test that waits in vain fails."""
    async with asyncio.timeout(patience):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(_PAUSE)
