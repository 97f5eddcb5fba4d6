"""Connections that are refreshed without a pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.stage import Stage
from chaos.waiting import until

_WORKERS = 16
_SLOWEST = 0.25
"""Seconds that a refresh may take at each point of the gate, so that what goes wrong may do so between any two."""


class Churn:
    """Workers that let a connection expire and query it, over and over."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stopped = False
        self.refreshed = 0
        self.lost = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work for as long as the block; then each worker ends with the connection that it is at."""
        random = self._stage.random
        with self._stage.cluster.gate.delaying(lambda: random.uniform(0, _SLOWEST)):
            async with asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(self._work())
                try:
                    yield
                finally:
                    self._stopped = True

    async def reaches(self, refreshes: int) -> None:
        """Return when so many refreshes have succeeded."""
        await until(f"{refreshes} refreshes", lambda: self.refreshed >= refreshes, patience=600)

    async def _work(self) -> None:
        """Refresh one connection after the other; one that is lost is replaced."""
        link = await self._stage.link_one()
        version = 1
        while not self._stopped:
            await self._stage.expire(link)
            answer = await self._stage.insist(link)
            if answer.is_final:
                self.lost += 1
                link, version = await self._stage.link_one(), 1
            elif answer.version > version:
                self.refreshed += answer.version - version
                version = answer.version
