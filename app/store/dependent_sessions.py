"""Sessions that end when their connection or their user is removed."""

from sqlalchemy import delete, or_

from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.records import fetch_all
from app.store.sessions import SELECT_SESSIONS, Session, stored_status_in
from app.store.tables import sessions as table


async def lock_sessions_of_user(transaction: Transaction, tenant: str, user_id: str, *, limit: int) -> list[Session]:
    """Return and lock up to `limit` of a user's sessions."""
    query = SELECT_SESSIONS.where(table.c.tenant == tenant, table.c.user_id == user_id)
    query = query.order_by(table.c.id).limit(limit).with_for_update()
    return await fetch_all(transaction, query, Session)


async def lock_sessions_awaiting_confirmation(
    transaction: Transaction, tenant: str, connection_id: str
) -> list[Session]:
    """Return and lock the sessions that will link or renew a connection when they are confirmed.

    Sessions in exchange are locked too: one whose exchange ends meanwhile is then seen with its new status.
    """
    is_of_connection = or_(table.c.connection_id == connection_id, table.c.renews_connection_id == connection_id)
    holds_grant = stored_status_in(SessionStatus.EXCHANGING, SessionStatus.AWAITING_CONFIRMATION)
    query = SELECT_SESSIONS.where(table.c.tenant == tenant, holds_grant, is_of_connection)
    query = query.order_by(table.c.id).with_for_update()
    found = await fetch_all(transaction, query, Session)
    return [session for session in found if session.status is SessionStatus.AWAITING_CONFIRMATION]


async def delete_sessions(transaction: Transaction, session_ids: list[str]) -> None:
    """Delete sessions."""
    await transaction.execute(delete(table).where(table.c.id.in_(session_ids)))
