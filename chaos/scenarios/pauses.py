"""A replica that stands still for longer than its lease, as a paused virtual machine does, and then goes on."""

import asyncio

from chaos.gate import Point
from chaos.links import Link
from chaos.load import Answer
from chaos.locks import stopped_claims
from chaos.replicas import Replica
from chaos.stage import BRISK, Stage
from chaos.waiting import until

_GRACE = 300


async def frozen_replicas(stage: Stage) -> None:
    """Frozen between its claim and the call, and between the bank's answer and the save."""
    for freeze, name, grace in ((_after_the_claim, "its claim", 0), (_after_the_answer, "the bank's answer", _GRACE)):
        for _ in range(stage.pick(1, 5)):
            frozen, other, _ = await stage.replicas(BRISK)
            await stage.cluster.bank.misbehave(refresh_reuse_grace=grace)
            (link,) = await stage.link(1)
            asking = await freeze(stage, frozen, link)
            answer = await stage.insist(link, [other])
            stage.expect(answer.is_good, f"while a replica stood still after {name}, the other one got {answer}")
            frozen.thaw()
            late = await asking
            stage.note(
                f"frozen after {name}: the other one got {answer.status}, and it got {late.status} {late.reason}"
            )
            await until("spools to empty", lambda: stage.cluster.fleet.spooled() == 0)


async def _after_the_claim(stage: Stage, replica: Replica, link: Link) -> asyncio.Task[Answer]:
    async with stopped_claims(stage.cluster.postgresql) as claims:
        asking = asyncio.create_task(stage.cluster.caller.query(replica, link))
        await claims.caught()
        replica.freeze()
        await claims.open()

        async def is_claimed() -> bool:
            return await stage.cluster.links.outcomes([link]) == [None]

        await until("the claim's commit", is_claimed)
    return asking


async def _after_the_answer(stage: Stage, replica: Replica, link: Link) -> asyncio.Task[Answer]:
    async with stage.cluster.gate.holding(Point.BEFORE_THE_ANSWER) as hold:
        asking = asyncio.create_task(stage.cluster.caller.query(replica, link))
        await hold.arrived()
        replica.freeze()
    return asking
