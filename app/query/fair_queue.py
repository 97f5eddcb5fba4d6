"""Work that holds everybody up, one piece of each tenant at a time, so that what others have to do comes in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from app.errors import BrokerUnavailable

_PATIENCE = 5.0


class _Turn:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    """Takes turns by tenant, and within each by caller, who has one piece at a time in its tenant's queue."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}

    @asynccontextmanager
    async def of(self, tenant: str, caller_id: str) -> AsyncIterator[None]:
        """Wait for the caller's turn, and let everybody else have theirs after the block: as long as it took.

        Raises BrokerUnavailable where it does not come in time.
        """
        async with self._queue((tenant, caller_id)) as of_caller, self._queue(tenant) as of_tenant:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await of_caller.acquire()
                    try:
                        await of_tenant.acquire()
                    except BaseException:
                        of_caller.release()
                        raise
            except TimeoutError as error:
                raise BrokerUnavailable(
                    "too many documents of this tenant wait to be looked into", code="too_many_queries", retry_after=1
                ) from error
            began = time.perf_counter()
            try:
                yield
            finally:
                try:
                    await asyncio.sleep(time.perf_counter() - began)
                finally:
                    of_tenant.release()
                    of_caller.release()

    @asynccontextmanager
    async def _queue(self, name: Hashable) -> AsyncIterator[asyncio.Lock]:
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        try:
            yield turn.lock
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]
