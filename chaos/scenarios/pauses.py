"""Pauses a replica for longer than its lease, as a virtual machine may be, and resumes it."""

import asyncio

from chaos.gate import Point
from chaos.links import Link
from chaos.load import Answer
from chaos.locks import stopped_claims
from chaos.replicas import Replica
from chaos.stage import SHORT_LEASES, Stage
from chaos.waiting import until

_GRACE = 300


async def frozen_replicas(stage: Stage) -> None:
    """Freeze a replica between its claim and the call, and between the bank's response and the save."""
    for freeze, name, grace in (
        (_after_the_claim, "its claim", 0),
        (_after_the_response, "the bank's response", _GRACE),
    ):
        for _ in range(stage.pick(1, 5)):
            frozen, other, _ = await stage.replicas(SHORT_LEASES)
            await stage.cluster.bank.set_faults(refresh_reuse_grace=grace)
            (link,) = await stage.link(1)
            querying = await freeze(stage, frozen, link)
            answer = await stage.query_until_final(link, [other])
            stage.expect(answer.is_good, f"while a replica was frozen after {name}, the other one got {answer}")
            frozen.thaw()
            late = await querying
            stage.log(
                f"frozen after {name}: the other replica returned {answer.status}, "
                f"the frozen one {late.status} {late.reason}"
            )
            await until("spools to empty", lambda: stage.cluster.fleet.spooled() == 0)


async def _after_the_claim(stage: Stage, replica: Replica, link: Link) -> asyncio.Task[Answer]:
    async with stopped_claims(stage.cluster.postgresql) as claims:
        querying = asyncio.create_task(stage.cluster.caller.query(replica, link))
        await claims.reached()
        replica.freeze()
        await claims.release()

        async def is_claimed() -> bool:
            return await stage.cluster.links.outcomes([link]) == [None]

        await until("the claim's commit", is_claimed)
    return querying


async def _after_the_response(stage: Stage, replica: Replica, link: Link) -> asyncio.Task[Answer]:
    async with stage.cluster.gate.stopping_at(Point.BEFORE_RESPONSE) as stopped:
        querying = asyncio.create_task(stage.cluster.caller.query(replica, link))
        await stopped.arrived()
        replica.freeze()
    return querying
