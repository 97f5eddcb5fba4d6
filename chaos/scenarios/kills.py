"""Kills replicas at random times while connections are refreshed continuously."""

import asyncio

from chaos.churn import Churn
from chaos.replicas import Replica, Shape
from chaos.stage import Stage
from chaos.waiting import until

_SHAPE = Shape(count=4)
_GRACE = 300


async def random_kills(stage: Stage) -> None:
    """Run once without a grace period for reuse, and once with one. With it no connection may be lost."""
    refreshes, kills = stage.pick(60, 1_000), stage.pick(8, 350)
    await stage.replicas(_SHAPE)
    for grace in (0, _GRACE):
        await stage.cluster.bank.set_faults(refresh_reuse_grace=grace)
        lost = await _round(stage, refreshes // 2, kills // 2)
        stage.expect(not (grace and lost), f"{lost} connections were lost, although the bank allowed reuse")
        stage.unavoidable_losses += 0 if grace else lost
        await stage.recover()


async def _round(stage: Stage, refreshes: int, kills: int) -> int:
    """Refresh and kill until both numbers are reached, and return how many connections were reported lost."""
    churn = Churn(stage)

    def ready_replicas() -> list[Replica]:
        return [replica for replica in stage.cluster.fleet.replicas if replica.is_ready]

    async with asyncio.TaskGroup() as restarts, churn.running():
        for number in range(kills):
            await until("two ready replicas", lambda: len(ready_replicas()) >= 2)
            await asyncio.sleep(stage.random.uniform(0, 0.5))
            victim = stage.random.choice(ready_replicas())
            await stage.kill(victim)
            await victim.start()
            restarts.create_task(victim.wait_until_ready())
            if number % 25 == 24:
                stage.log(f"{churn.refreshed} refreshes, {number + 1} kills, {churn.lost} reported lost")
        await churn.wait_for_refreshes(refreshes)
    stage.log(f"{churn.refreshed} refreshes, {kills} kills, {churn.lost} reported lost")
    return churn.lost
