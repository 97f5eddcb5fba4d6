"""The record of refresh attempts: what each was for, and how it ended."""

from sqlalchemy import exists, func, insert, or_, select, update

from app.store.enums import RefreshOutcome
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import refresh_attempts

# After these the bank may have used the refresh token up, so a later `invalid_grant` is no word of the user's.
POSSIBLY_SPENT = (RefreshOutcome.UNKNOWN, RefreshOutcome.BANK_FAILED, RefreshOutcome.BAD_ANSWER)


async def start_attempt(
    transaction: Transaction,
    *,
    tenant: str,
    connection_id: str,
    version: int,
    fence: int,
    cause: str,
    replica: str,
) -> None:
    """Write down that a refresh token is about to be presented."""
    await transaction.execute(
        insert(refresh_attempts).values(
            tenant=tenant, connection_id=connection_id, version=version, fence=fence, cause=cause, replica=replica
        )
    )


async def end_attempt(transaction: Transaction, connection_id: str, fence: int, outcome: RefreshOutcome) -> None:
    """Write down how the attempt ended; once it is known, a repeated save does not change it."""
    not_known = or_(refresh_attempts.c.outcome.is_(None), refresh_attempts.c.outcome == RefreshOutcome.UNKNOWN)
    await transaction.execute(
        update(refresh_attempts)
        .where(
            refresh_attempts.c.connection_id == connection_id,
            refresh_attempts.c.fence == fence,
            not_known,
        )
        .values(outcome=outcome, ended_at=func.now())
    )


async def mark_abandoned_attempts(transaction: Transaction, connection_id: str, version: int) -> bool:
    """Mark attempts whose replica went away as unknown. True where one at this version may have reached the bank.

    No lease runs, so whoever still holds one is late. Those of earlier versions were overtaken by a late save.
    """
    of_this_version = (refresh_attempts.c.connection_id == connection_id, refresh_attempts.c.version == version)
    await transaction.execute(
        update(refresh_attempts)
        .where(refresh_attempts.c.connection_id == connection_id, refresh_attempts.c.outcome.is_(None))
        .values(outcome=RefreshOutcome.UNKNOWN, ended_at=func.now())
    )
    spent = exists().where(*of_this_version, refresh_attempts.c.outcome.in_(POSSIBLY_SPENT))
    # Likewise where the version before was presented again after its answer, saved late, had been obtained.
    saved, later = refresh_attempts.alias(), refresh_attempts.alias()
    presented_again = exists().where(
        saved.c.connection_id == connection_id,
        saved.c.version == version - 1,
        saved.c.outcome == RefreshOutcome.REFRESHED,
        later.c.connection_id == connection_id,
        later.c.version == version - 1,
        later.c.fence > saved.c.fence,
        later.c.outcome.in_((*POSSIBLY_SPENT, RefreshOutcome.OUTCOME_LOST, RefreshOutcome.SUPERSEDED)),
    )
    return bool((await transaction.execute(select(or_(spent, presented_again)))).scalar())


async def count_recent_rejections(transaction: Transaction, connection_id: str, seconds: float) -> int:
    """Count the refreshes of the last `seconds` whose cause was that the bank refused a token."""
    query = select(func.count()).where(
        refresh_attempts.c.connection_id == connection_id,
        refresh_attempts.c.cause == "rejected",
        refresh_attempts.c.outcome == RefreshOutcome.REFRESHED,
        refresh_attempts.c.started_at > seconds_from_now(-seconds),
    )
    return int((await transaction.execute(query)).scalar_one())
