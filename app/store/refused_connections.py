"""Connections that a refresh has ended. Their tokens are kept for a while, in case the refusal was an error."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update

from app.store.connections import Connection, change_connection, publish_connection_event
from app.store.enums import ConnectionStatus, EventType
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.records import columns_of, fetch_all
from app.store.tables import connections as table
from app.store.tables import tokens


@dataclass(frozen=True, slots=True)
class RefusedConnections:
    """A tenant's refused connections: all, or those with these ids, this reason, or refused at `since` or later."""

    tenant: str
    connection_ids: Sequence[str] | None = None
    reason: str | None = None
    since: datetime | None = None


async def require_reauthorization(transaction: Transaction, connection: Connection, reason: str) -> None:
    """End a locked connection that the bank refused. Its tokens stay encrypted in the database, and nothing uses them.

    Retention erases them after some days, and a renewal replaces them. Until then an operator can retry the connection.
    """
    await transaction.execute(
        update(tokens).where(tokens.c.connection_id == connection.id).values(refused_at=func.now())
    )
    await change_connection(
        transaction,
        connection.id,
        status=ConnectionStatus.REAUTHORIZATION_REQUIRED,
        reauthorization_reason=reason,
        lease_until=None,
        retry_at=None,
        access_token_expires_at=None,
    )
    await publish_connection_event(
        transaction,
        EventType.CONNECTION_REAUTHORIZATION_REQUIRED,
        connection,
        version=connection.version,
        reason=reason,
    )


async def lock_refused_connections(
    transaction: Transaction, selection: RefusedConnections, *, after: str = "", limit: int
) -> list[Connection]:
    """Return and lock the selected connections that still have their tokens: those after the id `after`, in order."""
    query = select(*columns_of(Connection, table)).where(
        table.c.tenant == selection.tenant,
        table.c.status == ConnectionStatus.REAUTHORIZATION_REQUIRED,
        table.c.id > after,
        table.c.id == tokens.c.connection_id,
        tokens.c.refused_at.is_not(None),
        tokens.c.refresh_token.is_not(None),
    )
    if selection.connection_ids is not None:
        query = query.where(table.c.id.in_(selection.connection_ids))
    if selection.reason is not None:
        query = query.where(table.c.reauthorization_reason == selection.reason)
    if selection.since is not None:
        query = query.where(tokens.c.refused_at >= selection.since)
    return await fetch_all(transaction, query.order_by(table.c.id).limit(limit).with_for_update(of=table), Connection)


async def retry_connection(transaction: Transaction, connection: Connection) -> None:
    """Make a locked, refused connection active again. Its access token counts as expired, so its next use refreshes."""
    await transaction.execute(update(tokens).where(tokens.c.connection_id == connection.id).values(refused_at=None))
    await change_connection(
        transaction,
        connection.id,
        status=ConnectionStatus.ACTIVE,
        reauthorization_reason=None,
        # A response that is still on its way to the database belongs to an earlier claim.
        fence=connection.fence + 1,
        access_token_expires_at=seconds_from_now(0),
        lease_until=None,
        retry_at=None,
        failures=0,
        last_failure=None,
    )
    await publish_connection_event(transaction, EventType.CONNECTION_RECOVERED, connection, version=connection.version)
