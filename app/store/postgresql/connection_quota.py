"""How many of the pooled connections the requests of one tenant may hold: a tenant gone wild leaves some to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.errors import DatabaseUnavailable

_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def work_for(tenant: str | None) -> None:
    """Have the transactions of this request, and of the tasks that it begins, count against its tenant's share."""
    _tenant.set(tenant)


class _Share:
    __slots__ = ("semaphore", "users")

    def __init__(self, size: int) -> None:
        self.semaphore = asyncio.Semaphore(size)
        self.users = 0


class Shares:
    """Counts by tenant. What works for no tenant is not counted."""

    def __init__(self, size: int, *, patience: float) -> None:
        """`size`: the connections that one tenant may hold; who waits longer than `patience` seconds is refused."""
        self._size = size
        self._patience = patience
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a part of the share for as long as the block. Raises DatabaseUnavailable."""
        tenant = _tenant.get()
        if tenant is None:
            yield
            return
        share = self._shares.setdefault(tenant, _Share(self._size))
        share.users += 1
        try:
            await self._acquire(share)
            try:
                yield
            finally:
                share.semaphore.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[tenant]

    async def _acquire(self, share: _Share) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await share.semaphore.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                "too many requests of this tenant wait for the database; let some end",
                retry_after=1,
                reason="a tenant has used its share of the connections up",
            ) from error
