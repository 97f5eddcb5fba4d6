"""Clients that go away while a refresh is under way on their behalf."""

import asyncio

from chaos.gate import Point
from chaos.stage import PATIENT, Stage
from chaos.waiting import until

_CALLERS = 20


async def clients_that_leave(stage: Stage) -> None:
    """All of them leave, at each point of the call; the refresh goes on to its end, once."""
    replicas = await stage.replicas(PATIENT)
    for point in Point:
        (link,) = await stage.link(1)
        async with stage.cluster.gate.holding(point) as hold:
            ask = stage.cluster.caller.query
            asking = [asyncio.create_task(ask(replica, link)) for replica in replicas for _ in range(_CALLERS)]
            await hold.arrived()
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

        async def is_refreshed() -> bool:
            return await stage.cluster.links.version(link) == 2  # noqa: B023 - awaited before the next link

        await until("the refresh that nobody waits for", is_refreshed)
        outcomes = await stage.cluster.links.outcomes([link])
        stage.note(f"{len(asking)} callers left {point.name.lower()}: {outcomes}")
        stage.expect(outcomes == ["refreshed"], f"after its callers had left, the attempts were {outcomes}")
