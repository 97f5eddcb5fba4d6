"""Limits how many pooled connections the requests of one tenant may hold, so that some are left for the others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.concurrency.keyed_lock import KeyedSemaphore
from app.errors import DatabaseUnavailable


class ConnectionQuota:
    """Counts connections by tenant. Work for no tenant is not counted."""

    def __init__(self, size: int, *, timeout: float) -> None:
        """`size`: the connections that one tenant may hold. `timeout`: seconds to wait for one."""
        self._timeout = timeout
        self._tenants: KeyedSemaphore[str] = KeyedSemaphore(size)

    @asynccontextmanager
    async def connection(self, tenant: str | None) -> AsyncIterator[None]:
        """Count one connection of `tenant` for the time of the block. Raises DatabaseUnavailable."""
        if tenant is None:
            yield
            return
        try:
            await self._tenants.acquire(tenant, timeout_seconds=self._timeout)
        except TimeoutError as error:
            raise DatabaseUnavailable(
                "too many requests of this tenant are waiting for the database; let some finish",
                retry_after=1,
                reason="a tenant has used up its share of the connections",
            ) from error
        try:
            yield
        finally:
            self._tenants.release(tenant)
