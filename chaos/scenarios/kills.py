"""Replicas killed at random moments while connections are refreshed without a pause."""

import asyncio

from chaos.churn import Churn
from chaos.replicas import Replica, Shape
from chaos.stage import Stage
from chaos.waiting import until

_SHAPE = Shape(count=4)
_GRACE = 300


async def random_kills(stage: Stage) -> None:
    """Half of it with a bank that allows no reuse, half with one that does, where nothing at all may be lost."""
    refreshes, kills = stage.pick(60, 1_000), stage.pick(8, 350)
    await stage.replicas(_SHAPE)
    for grace in (0, _GRACE):
        await stage.cluster.bank.misbehave(refresh_reuse_grace=grace)
        lost = await _round(stage, refreshes // 2, kills // 2)
        stage.expect(not (grace and lost), f"{lost} connections were given up, though the bank allowed reuse")
        stage.inherent_losses += 0 if grace else lost
        await stage.settle()


async def _round(stage: Stage, refreshes: int, kills: int) -> int:
    """Refresh and kill until there was enough of both; returns how many connections were reported lost."""
    churn = Churn(stage)

    def serving() -> list[Replica]:
        return [replica for replica in stage.cluster.fleet.replicas if replica.is_ready]

    async with asyncio.TaskGroup() as restarts, churn.working():
        for number in range(kills):
            await until("two replicas that serve", lambda: len(serving()) >= 2)
            await asyncio.sleep(stage.random.uniform(0, 0.5))
            victim = stage.random.choice(serving())
            await stage.kill(victim)
            await victim.start()
            restarts.create_task(victim.ready())
            if number % 25 == 24:
                stage.note(f"{churn.refreshed} refreshes, {number + 1} kills, {churn.lost} reported lost")
        await churn.reaches(refreshes)
    stage.note(f"{churn.refreshed} refreshes, {kills} kills, {churn.lost} reported lost")
    return churn.lost
