"""Deletes old rows in batches, so that each transaction is short and locks few rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Table, delete, func, or_, select, tuple_

from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import (
    audit_heads,
    connections,
    interactions,
    refresh_attempts,
    sessions,
    tokens,
    webhook_deliveries,
    webhooks,
)

_SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """The number of rows that were deleted, whether there may be more, and the id after which the next batch begins."""

    deleted: int
    has_more: bool
    last_id: int = 0


async def delete_old_sessions(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Delete sessions that ended more than `days` ago, oldest first."""
    return await _delete_older(transaction, sessions, sessions.c.ended_at, days, limit)


async def delete_old_refresh_attempts(transaction: Transaction, *, days: int, limit: int, after: int) -> Batch:
    """Look at the next `limit` attempts after the id `after`, and delete the old ones that are no longer needed.

    The attempts at a connection's current and previous version are kept: they say whether a refresh token may have
    been spent.
    """
    query = (
        select(
            refresh_attempts.c.id,
            (refresh_attempts.c.started_at < _days_ago(days)).label("is_old"),
            or_(
                refresh_attempts.c.version < connections.c.version - 1,
                connections.c.status == ConnectionStatus.REVOKED,
            ).label("is_obsolete"),
        )
        .join_from(refresh_attempts, connections, connections.c.id == refresh_attempts.c.connection_id)
        .where(refresh_attempts.c.id > after)
        .order_by(refresh_attempts.c.id)
        .limit(limit)
    )
    rows = (await transaction.execute(query)).all()
    obsolete = [row.id for row in rows if row.is_old and row.is_obsolete]
    await transaction.execute(delete(refresh_attempts).where(refresh_attempts.c.id.in_(obsolete)))
    # Ids grow with time, so there are no old attempts after one that is not old.
    return Batch(len(obsolete), len(rows) == limit and rows[-1].is_old, rows[-1].id if rows else after)


async def delete_old_tombstones(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Delete connections that were revoked more than `days` ago, and their refresh attempts."""
    is_tombstone = connections.c.status == ConnectionStatus.REVOKED
    return await _delete_older(transaction, connections, connections.c.revoked_at, days, limit, is_tombstone)


async def erase_refused_tokens(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Erase the tokens of connections that the bank refused more than `days` ago."""
    return await _delete_older(transaction, tokens, tokens.c.refused_at, days, limit)


async def delete_old_interactions(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Delete interactions that expired more than `days` ago."""
    return await _delete_older(transaction, interactions, interactions.c.expires_at, days, limit)


async def delete_old_deliveries(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Delete webhook deliveries that ended more than `days` ago."""
    return await _delete_older(transaction, webhook_deliveries, webhook_deliveries.c.ended_at, days, limit)


async def delete_old_webhooks(transaction: Transaction, *, days: int, limit: int, after: int = 0) -> Batch:
    """Delete the rows of webhooks that were deleted more than `days` ago."""
    return await _delete_older(transaction, webhooks, webhooks.c.deleted_at, days, limit)


async def tenants_with_audit_log(transaction: Transaction) -> Sequence[str]:
    """Return every tenant that has an audit log."""
    return (await transaction.execute(select(audit_heads.c.tenant).order_by(audit_heads.c.tenant))).scalars().all()


async def shorten_audit_log(transaction: Transaction, *, tenant: str, days: int, limit: int, after: int = 0) -> Batch:
    """Delete a tenant's oldest audit events, up to the first one that is not older than `days`.

    The database function verifies the chain over the deleted events, and keeps the last position and its hash as a
    checkpoint that the rest of the chain continues from. If the chain is broken, it refuses.
    """
    query = select(func.audit_remove_before(tenant, _days_ago(days), limit))
    deleted = int((await transaction.execute(query)).scalar_one())
    return Batch(deleted, deleted == limit)


def _days_ago(days: int) -> ColumnElement[datetime]:
    return seconds_from_now(-days * _SECONDS_PER_DAY)


async def _delete_older(
    transaction: Transaction,
    table: Table,
    time: Column[datetime],
    days: int,
    limit: int,
    *conditions: ColumnElement[bool],
) -> Batch:
    """Delete rows whose `time` is more than `days` ago, oldest first. Rows that are locked are skipped."""
    key = tuple_(*table.primary_key.columns)
    old = (
        select(*table.primary_key.columns)
        .where(time < _days_ago(days), *conditions)
        .order_by(time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [tuple(row) for row in await transaction.execute(old)]
    await transaction.execute(delete(table).where(key.in_(keys)))
    return Batch(len(keys), len(keys) == limit)
