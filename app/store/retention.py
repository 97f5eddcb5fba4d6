"""Removing what is old, a batch at a time: each locks few rows, for as long as one short transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Select, delete, func, or_, select, update

from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import audit_heads, connections, refresh_attempts, sessions

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch came to, and where the next one goes on, if there may be more."""

    removed: int
    there_is_more: bool
    last: int = 0


def _days_ago(days: int) -> ColumnElement[datetime]:
    return seconds_from_now(-days * _DAY)


async def remove_sessions(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Remove sessions that ended so many days ago, the oldest first."""
    old = (
        select(sessions.c.id)
        .where(sessions.c.ended_at < _days_ago(days))
        .order_by(sessions.c.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return await _remove(transaction, sessions.c.id, old, limit)


async def remove_refresh_attempts(transaction: Transaction, *, days: int, limit: int, after: int) -> Batch:
    """Look at the next `limit` attempts after the id `after`; remove those that are old and decide nothing any more.

    Of each connection those at the current version and at the one before stay: they tell whether a refresh token was
    perhaps spent.
    """
    query = (
        select(
            refresh_attempts.c.id,
            (refresh_attempts.c.started_at < _days_ago(days)).label("is_old"),
            or_(
                refresh_attempts.c.version < connections.c.version - 1,
                connections.c.status == ConnectionStatus.REVOKED,
            ).label("is_spent"),
        )
        .join_from(refresh_attempts, connections, connections.c.id == refresh_attempts.c.connection_id)
        .where(refresh_attempts.c.id > after)
        .order_by(refresh_attempts.c.id)
        .limit(limit)
    )
    seen = (await transaction.execute(query)).all()
    spent = [row.id for row in seen if row.is_old and row.is_spent]
    await transaction.execute(delete(refresh_attempts).where(refresh_attempts.c.id.in_(spent)))
    # Ids grow with time, so what follows one that is not old is not old either.
    return Batch(len(spent), len(seen) == limit and seen[-1].is_old, seen[-1].id if seen else after)


async def remove_tombstones(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Remove connections that were revoked so many days ago, and what belongs to them."""
    is_tombstone = connections.c.status == ConnectionStatus.REVOKED
    undated = select(connections.c.id).where(is_tombstone, connections.c.revoked_at.is_(None)).limit(limit)
    # Of those that a version before has revoked nobody knows when; their time begins when they are first seen.
    await transaction.execute(
        update(connections).where(connections.c.id.in_(undated.scalar_subquery())).values(revoked_at=func.now())
    )
    old = (
        select(connections.c.id)
        .where(is_tombstone, connections.c.revoked_at < _days_ago(days))
        .order_by(connections.c.revoked_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return await _remove(transaction, connections.c.id, old, limit)


async def tenants_with_audit(transaction: Transaction) -> Sequence[str]:
    """Return every tenant that has an audit."""
    return (await transaction.execute(select(audit_heads.c.tenant).order_by(audit_heads.c.tenant))).scalars().all()


async def shorten_audit(transaction: Transaction, *, tenant: str, days: int, limit: int, after: int = 0) -> Batch:
    """Remove a tenant's oldest events, as far as all of them are so many days old.

    The database checks the chain over what it removes, and keeps the last position and hash of it as the checkpoint
    that the rest continues from (migration 0007). Where the chain is broken it refuses.
    """
    query = select(func.audit_remove_before(tenant, _days_ago(days), limit))
    removed = int((await transaction.execute(query)).scalar_one())
    return Batch(removed, removed == limit)


async def _remove(transaction: Transaction, identity: Column[str], old: Select[tuple[str]], limit: int) -> Batch:
    found = (await transaction.execute(old)).scalars().all()
    await transaction.execute(delete(identity.table).where(identity.in_(found)))
    return Batch(len(found), len(found) == limit)
