"""Stops PostgreSQL during refreshes, also for long while the only copies of new tokens are in spools."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chaos.churn import Churn
from chaos.gate import Point
from chaos.links import Link
from chaos.replicas import Replica
from chaos.stage import SHORT_LEASES, Stage
from chaos.waiting import until

_COUNT = 12


async def outages(stage: Stage) -> None:
    """Stop and restart it repeatedly. No process dies, so no connection may be lost."""
    await stage.replicas(SHORT_LEASES)
    churn = Churn(stage)
    async with churn.running():
        for number in range(stage.pick(2, 25)):
            await asyncio.sleep(stage.random.uniform(0.2, 2))
            await stage.cluster.postgresql.stop("immediate")
            await asyncio.sleep(stage.random.uniform(0, 1))
            await stage.cluster.postgresql.start()
            if number % 5 == 4:
                stage.log(f"{number + 1} outages, {churn.refreshed} refreshes, {churn.lost} reported lost")
            await churn.wait_for_refreshes(churn.refreshed + 1)
    stage.log(f"{churn.refreshed} refreshes, {churn.lost} reported lost")


async def database_down_before_save(stage: Stage) -> None:
    """Stop it for longer than the lease, while callers query every replica."""
    replicas = await stage.replicas(SHORT_LEASES)
    links = await stage.link(_COUNT)
    async with _responses_spooled(stage, replicas, links):
        await asyncio.sleep(stage.pick(5, 20))
        queries = [asyncio.create_task(stage.query_until_final(link)) for link in links for _ in replicas]
        await stage.cluster.postgresql.start()
        answers = await asyncio.gather(*queries)
    _expect_all(stage, [answer.is_good for answer in answers], "responses spooled while the database was down")


async def stopped_with_a_spool(stage: Stage) -> None:
    """Kill one replica and stop another while the database is down. After a restart both save their spools."""
    killed, stopped, _ = await stage.replicas(SHORT_LEASES)
    links = await stage.link(_COUNT)
    async with _responses_spooled(stage, (killed, stopped), links):
        await stage.kill(killed)
        status = await stopped.terminate()
        stage.log(
            f"stopped with {stopped.spooled()} responses spooled, exit status {status}; killed with {killed.spooled()}"
        )
        stage.expect(killed.spooled() + stopped.spooled() == len(links), "responses are missing in the spools")
        await stage.cluster.postgresql.start()
        await stage.cluster.fleet.start_all()
        await until("the spools to empty", lambda: stage.cluster.fleet.spooled() == 0)
        answers = await asyncio.gather(*(stage.query_until_final(link) for link in links))
    _expect_all(stage, [answer.is_good for answer in answers], "responses in the spool of a stopped or killed replica")


@asynccontextmanager
async def _responses_spooled(stage: Stage, replicas: Sequence[Replica], links: Sequence[Link]) -> AsyncIterator[None]:
    """Refresh, stop the database before the bank's responses arrive, and yield when all responses are spooled."""
    async with stage.cluster.gate.stopping_at(Point.BEFORE_RESPONSE) as stopped:
        queries = [
            asyncio.create_task(stage.cluster.caller.query(replicas[number % len(replicas)], link))
            for number, link in enumerate(links)
        ]
        await stopped.arrived(len(links))
        await stage.cluster.postgresql.stop("immediate")
        stopped.release()
        await until("all responses to be spooled", lambda: stage.cluster.fleet.spooled() == len(links))
        # Disconnect the callers, so that a stopping replica does not wait for them.
        for task in queries:
            task.cancel()
        await asyncio.gather(*queries, return_exceptions=True)
        yield


def _expect_all(stage: Stage, good: Sequence[bool], what: str) -> None:
    stage.log(f"{what}: {sum(good)} of {len(good)} callers served")
    stage.expect(all(good), f"{what}: {len(good) - sum(good)} callers failed")
