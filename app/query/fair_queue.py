"""Runs blocking work for one tenant at a time, and lets the event loop serve the other tenants in between."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.concurrency.keyed_lock import KeyedSemaphore
from app.errors import BrokerUnavailable

_TIMEOUT_SECONDS = 5.0


class FairQueue:
    """Each tenant has one turn at a time, and each caller one place in its tenant's queue."""

    def __init__(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._callers: KeyedSemaphore[tuple[str, str]] = KeyedSemaphore()
        self._tenants: KeyedSemaphore[str] = KeyedSemaphore()

    @asynccontextmanager
    async def turn(self, tenant: str, caller_id: str) -> AsyncIterator[None]:
        """Wait for the caller's turn to run the block, then pause for as long as the block took.

        Raises BrokerUnavailable if the turn does not come in time.
        """
        caller = tenant, caller_id
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._callers.acquire(caller)
                    stack.callback(self._callers.release, caller)
                    await self._tenants.acquire(tenant)
                    stack.callback(self._tenants.release, tenant)
            except TimeoutError as error:
                raise BrokerUnavailable(
                    "too many queries of this tenant are waiting to be parsed", code="too_many_queries", retry_after=1
                ) from error
            started_at = time.perf_counter()
            try:
                yield
            finally:
                await asyncio.sleep(time.perf_counter() - started_at)
