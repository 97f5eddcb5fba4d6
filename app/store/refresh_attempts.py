"""Refresh attempts: why each was made, and how it ended."""

from sqlalchemy import exists, func, insert, or_, select, update

from app.store.enums import RefreshCause, RefreshOutcome
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import refresh_attempts

# After these outcomes the bank may have consumed the refresh token, so a later `invalid_grant` does not prove that the
# user has withdrawn the consent.
POSSIBLY_SPENT = (RefreshOutcome.UNKNOWN, RefreshOutcome.BANK_FAILED, RefreshOutcome.BAD_ANSWER)


async def start_attempt(
    transaction: Transaction,
    *,
    tenant: str,
    connection_id: str,
    version: int,
    fence: int,
    cause: RefreshCause,
    replica: str,
) -> None:
    """Record that a refresh token is about to be presented."""
    await transaction.execute(
        insert(refresh_attempts).values(
            tenant=tenant, connection_id=connection_id, version=version, fence=fence, cause=cause, replica=replica
        )
    )


async def end_attempt(transaction: Transaction, connection_id: str, fence: int, outcome: RefreshOutcome) -> None:
    """Record the outcome of an attempt. A known outcome is never changed."""
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
    """Set the outcome of attempts without one to unknown, and return whether this version's refresh token may be spent.

    Must be called only if no lease is valid: then the replica of such an attempt is lost or late.
    """
    of_this_version = (refresh_attempts.c.connection_id == connection_id, refresh_attempts.c.version == version)
    await transaction.execute(
        update(refresh_attempts)
        .where(refresh_attempts.c.connection_id == connection_id, refresh_attempts.c.outcome.is_(None))
        .values(outcome=RefreshOutcome.UNKNOWN, ended_at=func.now())
    )
    spent = exists().where(*of_this_version, refresh_attempts.c.outcome.in_(POSSIBLY_SPENT))
    # The token may also be spent if the previous version was presented again after its response had been received, but
    # before that response was saved.
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
    """Count the successful refreshes of the last `seconds` that were made because the bank had rejected a token."""
    query = select(func.count()).where(
        refresh_attempts.c.connection_id == connection_id,
        refresh_attempts.c.cause == RefreshCause.REJECTED,
        refresh_attempts.c.outcome == RefreshOutcome.REFRESHED,
        refresh_attempts.c.started_at > seconds_from_now(-seconds),
    )
    return int((await transaction.execute(query)).scalar_one())
