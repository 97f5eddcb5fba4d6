"""Clients disconnect while a refresh for their queries is running."""

import asyncio

from chaos.gate import Point
from chaos.stage import LONG_LEASES, Stage
from chaos.waiting import until

_CALLERS = 20


async def clients_that_disconnect(stage: Stage) -> None:
    """All clients disconnect, at each point of the call. The refresh completes, and happens once."""
    replicas = await stage.replicas(LONG_LEASES)
    for point in Point:
        (link,) = await stage.link(1)
        async with stage.cluster.gate.stopping_at(point) as stopped:
            query = stage.cluster.caller.query
            queries = [asyncio.create_task(query(replica, link)) for replica in replicas for _ in range(_CALLERS)]
            await stopped.arrived()
            for task in queries:
                task.cancel()
            await asyncio.gather(*queries, return_exceptions=True)

        async def is_refreshed() -> bool:
            return await stage.cluster.links.version(link) == 2  # noqa: B023 - awaited before the next link

        await until("the refresh to complete", is_refreshed)
        outcomes = await stage.cluster.links.outcomes([link])
        stage.log(f"{len(queries)} callers disconnected {point.name.lower()}: {outcomes}")
        stage.expect(outcomes == ["refreshed"], f"after its callers had disconnected, the attempts were {outcomes}")
