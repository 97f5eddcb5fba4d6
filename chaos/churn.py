"""Refreshes connections continuously."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.stage import Stage
from chaos.waiting import until

_WORKERS = 16
# Each refresh is delayed at each point of the gate by up to this, so that failures can happen between any two points.
_MAX_DELAY = 0.25  # seconds


class Churn:
    """Workers that repeatedly expire a connection and query it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stopped = False
        self.refreshed = 0
        self.lost = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the workers during the block. Afterwards each worker finishes its current connection."""
        random = self._stage.random
        with self._stage.cluster.gate.delaying(lambda: random.uniform(0, _MAX_DELAY)):
            async with asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(self._work())
                try:
                    yield
                finally:
                    self._stopped = True

    async def wait_for_refreshes(self, refreshes: int) -> None:
        """Return when this many refreshes have succeeded."""
        await until(f"{refreshes} refreshes", lambda: self.refreshed >= refreshes, timeout_seconds=600)

    async def _work(self) -> None:
        """Refresh a connection again and again. Replace it when it is lost."""
        link = await self._stage.link_one()
        version = 1
        while not self._stopped:
            await self._stage.expire(link)
            answer = await self._stage.query_until_final(link)
            if answer.is_final:
                self.lost += 1
                link, version = await self._stage.link_one(), 1
            elif answer.version > version:
                self.refreshed += answer.version - version
                version = answer.version
