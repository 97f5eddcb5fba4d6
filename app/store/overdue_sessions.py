"""Sessions whose time is over, and those that a lost replica has left."""

from sqlalchemy import and_, func, or_, select, true

from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.tenants import tenants_of
from app.store.sessions import Session, lock_unlocked_sessions, stored_status_in
from app.store.tables import sessions as table

_holds_grant = stored_status_in(SessionStatus.EXCHANGING, SessionStatus.AWAITING_CONFIRMATION)
_is_pending = stored_status_in(SessionStatus.PENDING)
_is_over = table.c.expires_at <= func.now()


async def lock_overdue_grants(transaction: Transaction, *, limit: int) -> list[Session]:
    """Return, locked, exchanges that nobody works on, and links that were not confirmed in time.

    Apart from logins that nobody finished: however many those are, no grant waits to be linked or revoked.
    """
    unattended = or_(table.c.lease_until.is_(None), table.c.lease_until <= func.now())
    is_due = or_(
        and_(table.c.status == SessionStatus.EXCHANGING, unattended),
        and_(table.c.status == SessionStatus.AWAITING_CONFIRMATION, _is_over),
    )
    return await lock_unlocked_sessions(transaction, and_(_holds_grant, is_due), limit=limit)


async def find_expired_logins(transaction: Transaction, *, of_each_tenant: int) -> list[str]:
    """Return the ids of logins that nobody finished, so many of each tenant, the oldest."""
    names = tenants_of(table, _is_pending)
    oldest = (
        select(table.c.id)
        .where(_is_pending, table.c.tenant == names.c.tenant, _is_over)
        .order_by(table.c.expires_at)
        .limit(of_each_tenant)
        .lateral()
    )
    return list((await transaction.execute(select(oldest.c.id).select_from(names.join(oldest, true())))).scalars())


async def lock_expired_logins(transaction: Transaction, session_ids: list[str]) -> list[Session]:
    """Return, locked, those of these that are still to be ended, and that nobody else has."""
    return await lock_unlocked_sessions(transaction, and_(table.c.id.in_(session_ids), _is_pending, _is_over))
