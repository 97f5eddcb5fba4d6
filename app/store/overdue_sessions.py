"""Sessions whose time is over, and sessions whose replica is lost."""

from sqlalchemy import and_, func, or_, select, true

from app.base.bank_client import BankClient
from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.tenants import tenants_of
from app.store.sessions import Session, lock_unlocked_sessions, stored_status_in
from app.store.tables import sessions as table

_holds_grant = stored_status_in(SessionStatus.EXCHANGING, SessionStatus.AWAITING_CONFIRMATION)
_is_pending = stored_status_in(SessionStatus.PENDING)
_is_over = table.c.expires_at <= func.now()


async def lock_overdue_grants(transaction: Transaction, *, client: BankClient, limit: int) -> list[Session]:
    """Return and lock the client's exchanges without a valid lease, and links that were not confirmed in time.

    Pending logins that have expired are found separately, so that no number of them delays linking or revoking a grant.
    """
    unattended = or_(table.c.lease_until.is_(None), table.c.lease_until <= func.now())
    is_own = and_(table.c.issuer == client.issuer, table.c.client_id == client.client_id)
    is_due = or_(
        and_(table.c.status == SessionStatus.EXCHANGING, is_own, unattended),
        and_(table.c.status == SessionStatus.AWAITING_CONFIRMATION, _is_over),
    )
    return await lock_unlocked_sessions(transaction, and_(_holds_grant, is_due), limit=limit)


async def find_expired_logins(transaction: Transaction, *, of_each_tenant: int) -> list[str]:
    """Return the ids of expired pending logins, oldest first, at most `of_each_tenant` of each tenant."""
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
    """Return and lock those of the sessions that are still pending and not locked by another replica."""
    return await lock_unlocked_sessions(transaction, and_(table.c.id.in_(session_ids), _is_pending, _is_over))
