"""Limits how many pooled connections the requests of one tenant may hold, so that some are left for the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import DatabaseUnavailable


class _Quota:
    __slots__ = ("semaphore", "users")

    def __init__(self, size: int) -> None:
        self.semaphore = asyncio.Semaphore(size)
        self.users = 0


class ConnectionQuota:
    """Counts connections by tenant. Work for no tenant is not counted."""

    def __init__(self, size: int, *, timeout: float) -> None:
        """`size`: the connections that one tenant may hold. `timeout`: seconds to wait for one."""
        self._size = size
        self._timeout = timeout
        self._quotas: dict[str, _Quota] = {}

    @asynccontextmanager
    async def connection(self, tenant: str | None) -> AsyncIterator[None]:
        """Count one connection of `tenant` for the time of the block. Raises DatabaseUnavailable."""
        if tenant is None:
            yield
            return
        quota = self._quotas.setdefault(tenant, _Quota(self._size))
        quota.users += 1
        try:
            await self._acquire(quota)
            try:
                yield
            finally:
                quota.semaphore.release()
        finally:
            quota.users -= 1
            if not quota.users:
                del self._quotas[tenant]

    async def _acquire(self, quota: _Quota) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await quota.semaphore.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                "too many requests of this tenant are waiting for the database; let some finish",
                retry_after=1,
                reason="a tenant has used up its share of the connections",
            ) from error
