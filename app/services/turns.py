"""Work that holds everybody up, one piece of each tenant at a time, so that what others have to do comes in between."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Turn:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    """Takes turns by tenant."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Wait for the tenant's turn, and let everybody else have theirs after the block: as long as it took."""
        turn = self._turns.setdefault(tenant, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                began = time.perf_counter()
                try:
                    yield
                finally:
                    await asyncio.sleep(time.perf_counter() - began)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[tenant]
