"""PostgreSQL cut off during refreshes, and away for long while the only copies of new tokens are on disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chaos.churn import Churn
from chaos.gate import Point
from chaos.links import Link
from chaos.replicas import Replica
from chaos.stage import BRISK, Stage
from chaos.waiting import until

_COUNT = 12


async def outages(stage: Stage) -> None:
    """Cut off and started again, over and over; no process dies, so nothing may be lost."""
    await stage.replicas(BRISK)
    churn = Churn(stage)
    async with churn.working():
        for number in range(stage.pick(2, 25)):
            await asyncio.sleep(stage.random.uniform(0.2, 2))
            await stage.cluster.postgresql.stop("immediate")
            await asyncio.sleep(stage.random.uniform(0, 1))
            await stage.cluster.postgresql.start()
            if number % 5 == 4:
                stage.note(f"{number + 1} outages, {churn.refreshed} refreshes, {churn.lost} reported lost")
            await churn.reaches(churn.refreshed + 1)
    stage.note(f"{churn.refreshed} refreshes, {churn.lost} reported lost")


async def away_between_answer_and_save(stage: Stage) -> None:
    """Longer than the lease, with callers who ask on every replica all the while."""
    replicas = await stage.replicas(BRISK)
    links = await stage.link(_COUNT)
    async with _answers_without_a_database(stage, replicas, links):
        await asyncio.sleep(stage.pick(5, 20))
        asking = [asyncio.create_task(stage.insist(link)) for link in links for _ in replicas]
        await stage.cluster.postgresql.start()
        answers = await asyncio.gather(*asking)
    _expect_all(stage, [answer.is_good for answer in answers], "answers held while the database was away")


async def stopped_with_a_spool(stage: Stage) -> None:
    """One is killed and one told to stop while the database is away; both are started again, and save what they had."""
    killed, stopped, _ = await stage.replicas(BRISK)
    links = await stage.link(_COUNT)
    async with _answers_without_a_database(stage, (killed, stopped), links):
        await stage.kill(killed)
        status = await stopped.terminate()
        stage.note(
            f"stopped with {stopped.spooled()} answers on disk, exit status {status}; killed with {killed.spooled()}"
        )
        stage.expect(killed.spooled() + stopped.spooled() == len(links), "answers are missing on disk")
        await stage.cluster.postgresql.start()
        await stage.cluster.fleet.all_up()
        await until("the spools to empty", lambda: stage.cluster.fleet.spooled() == 0)
        answers = await asyncio.gather(*(stage.insist(link) for link in links))
    _expect_all(stage, [answer.is_good for answer in answers], "answers on the disk of a replica that went away")


@asynccontextmanager
async def _answers_without_a_database(
    stage: Stage, replicas: Sequence[Replica], links: Sequence[Link]
) -> AsyncIterator[None]:
    """Have replicas refresh, cut the database off while the bank answers, and go on when all answers are on disk."""
    async with stage.cluster.gate.holding(Point.BEFORE_THE_ANSWER) as hold:
        asking = [
            asyncio.create_task(stage.cluster.caller.query(replicas[number % len(replicas)], link))
            for number, link in enumerate(links)
        ]
        await hold.arrived(len(links))
        await stage.cluster.postgresql.stop("immediate")
        hold.release()
        await until("all answers to be on disk", lambda: stage.cluster.fleet.spooled() == len(links))
        # Callers that go away, so that a replica which is told to stop need not wait for their sake.
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        yield


def _expect_all(stage: Stage, good: Sequence[bool], what: str) -> None:
    stage.note(f"{what}: {sum(good)} of {len(good)} callers served")
    stage.expect(all(good), f"{what}: {len(good) - sum(good)} callers were refused for good")
