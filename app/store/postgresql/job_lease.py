"""Chores that one replica does for all: whose turn it is, and what came of it.

A turn is a row that says when the next one is due, taken in one statement: that needs no connection of its own, as a
session's advisory lock would, so it works by way of a transaction pooler. A replica that is lost during its turn is
followed by another when the turn's time is over.
"""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import job_leases


async def claim_job(transaction: Transaction, name: str, *, seconds: float) -> bool:
    """Take the turn for `seconds` at most, if one is due. False where it is not, or another replica has it."""
    await transaction.execute(insert(job_leases).values(name=name).on_conflict_do_nothing())
    taken = await transaction.execute(
        update(job_leases)
        .where(job_leases.c.name == name, job_leases.c.due_at <= func.clock_timestamp())
        .values(due_at=seconds_from_now(seconds))
        .returning(job_leases.c.name)
    )
    return taken.first() is not None


async def renew_job(transaction: Transaction, name: str, *, seconds: float) -> None:
    """Keep the turn for another `seconds`."""
    await transaction.execute(
        update(job_leases).where(job_leases.c.name == name).values(due_at=seconds_from_now(seconds))
    )


async def finish_job(
    transaction: Transaction, name: str, *, next_in: float, result: dict[str, Any] | None = None
) -> None:
    """End the turn: the next one is due in `next_in` seconds."""
    values: dict[str, Any] = {"due_at": seconds_from_now(next_in), "finished_at": func.now()}
    if result is not None:
        values["result"] = result
    await transaction.execute(update(job_leases).where(job_leases.c.name == name).values(**values))


async def latest_result(transaction: Transaction, name: str) -> dict[str, Any]:
    """Return what the last turn that had a result came to; empty before the first."""
    return (await transaction.execute(select(job_leases.c.result).where(job_leases.c.name == name))).scalar() or {}
