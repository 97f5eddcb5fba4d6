"""Leases on periodic jobs, so that one replica at a time runs a job for all of them.

A job is a row with the time at which it is next due. Claiming it is a single UPDATE that moves this time to the end of
the lease. Unlike a session-level advisory lock, this needs no connection of its own and works through a transaction
pooler. If a replica is lost during a job, another one claims it when the lease has ended.
"""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import job_leases


async def claim_job(transaction: Transaction, name: str, *, seconds: float) -> bool:
    """Claim the job for `seconds`. Return False if it is not due or another replica runs it."""
    await transaction.execute(insert(job_leases).values(name=name).on_conflict_do_nothing())
    claimed = await transaction.execute(
        update(job_leases)
        .where(job_leases.c.name == name, job_leases.c.due_at <= func.clock_timestamp())
        .values(due_at=seconds_from_now(seconds))
        .returning(job_leases.c.name)
    )
    return claimed.first() is not None


async def renew_job(transaction: Transaction, name: str, *, seconds: float) -> None:
    """Extend the lease to `seconds` from now."""
    await transaction.execute(
        update(job_leases).where(job_leases.c.name == name).values(due_at=seconds_from_now(seconds))
    )


async def finish_job(
    transaction: Transaction, name: str, *, next_in: float, result: dict[str, Any] | None = None
) -> None:
    """End the lease. The job is next due in `next_in` seconds."""
    values: dict[str, Any] = {"due_at": seconds_from_now(next_in), "finished_at": func.now()}
    if result is not None:
        values["result"] = result
    await transaction.execute(update(job_leases).where(job_leases.c.name == name).values(**values))


async def latest_result(transaction: Transaction, name: str) -> dict[str, Any]:
    """Return the last result of the job, or an empty object before the first one."""
    return (await transaction.execute(select(job_leases.c.result).where(job_leases.c.name == name))).scalar() or {}
