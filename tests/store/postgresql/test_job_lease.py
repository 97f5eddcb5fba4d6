import asyncio

from app.store.postgresql.database import Database
from app.store.postgresql.job_lease import claim_job, finish_job, latest_result


async def claim(database: Database, *, seconds: float = 60) -> bool:
    async with database.transaction() as transaction:
        return await claim_job(transaction, "job", seconds=seconds)


async def test_one_of_many_replicas_claims_a_job(database: Database) -> None:
    assert sum(await asyncio.gather(*(claim(database) for _ in range(8)))) == 1
    assert not await claim(database)


async def test_a_finished_job_is_due_after_the_given_time(database: Database) -> None:
    assert await claim(database)
    async with database.transaction() as transaction:
        assert await latest_result(transaction, "job") == {}
        await finish_job(transaction, "job", next_in=0, result={"found": 3})
    assert await claim(database)
    async with database.transaction() as transaction:
        await finish_job(transaction, "job", next_in=60)
    assert not await claim(database)
    async with database.transaction() as transaction:
        assert await latest_result(transaction, "job") == {"found": 3}


async def test_the_job_of_a_lost_replica_can_be_claimed_after_its_lease(database: Database) -> None:
    assert await claim(database, seconds=0)
    assert await claim(database)
