"""Sessions: the rows of `stitch_authorization_requests`."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Row, Select, and_, case, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.base.encryption import Binding, Ciphertext, KeyRing
from app.observability.metrics import SESSIONS
from app.store.outbox import EventType, publish
from app.store.postgresql.database import Transaction, on_commit
from app.store.postgresql.database_time import from_start, seconds_until
from app.store.postgresql.notifications import notify, session_topic
from app.store.postgresql.pagination import Page, cursor_after, newest_first
from app.store.tables import sessions as table


class SessionStatus(StrEnum):
    """Where a login stands."""

    PENDING = "pending"
    EXCHANGING = "exchanging"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Session:
    """One attempt to link an account."""

    id: str
    tenant: str
    caller_id: str
    user_id: str
    status: SessionStatus
    stitch_state: str
    nonce_digest: str
    code_challenge: str
    code_verifier: Ciphertext | None
    authorization_url: Ciphertext | None
    pushed_parameters: Ciphertext | None
    proof_key: Ciphertext | None
    ticket: Ciphertext | None
    ticket_digest: str
    browser_digest: str | None
    token_response: Ciphertext | None
    confirmation_code: Ciphertext | None
    require_confirmation: bool
    redirect_uri: str
    return_url: str | None
    renews_connection_id: str | None
    connection_id: str | None
    scopes: list[str]
    error_code: str | None
    error_detail: str | None
    metadata: dict[str, Any]
    request_digest: str | None
    created_at: datetime
    expires_at: datetime
    exchanged_at: datetime | None
    ended_at: datetime | None
    seconds_left: float


_lapsed = and_(table.c.status == SessionStatus.PENDING, table.c.expires_at <= func.now())
# A pending login whose time is over reads as expired from that moment, whether or not anyone has written it down.
_status = case((_lapsed, literal(SessionStatus.EXPIRED.value)), else_=table.c.status).label("status")
_ended_at = case((_lapsed, table.c.expires_at), else_=table.c.ended_at).label("ended_at")
_computed: dict[str, ColumnElement[Any]] = {
    "status": _status,
    "ended_at": _ended_at,
    "seconds_left": seconds_until(table.c.expires_at).label("seconds_left"),
}
_columns = [_computed[field.name] if field.name in _computed else table.c[field.name] for field in fields(Session)]


def _reads_as(status: SessionStatus) -> ColumnElement[bool]:
    """Tell what `_status` is, in a way that an index of the stored ones can find."""
    stored = table.c.status == status
    if status is SessionStatus.PENDING:
        return and_(stored, table.c.expires_at > func.now())
    return or_(stored, _lapsed) if status is SessionStatus.EXPIRED else stored


def _session(row: Row[Any]) -> Session:
    values = dict(row._mapping)
    return Session(**{**values, "status": SessionStatus(values["status"])})


def _query() -> Select[Any]:
    return select(*_columns)


async def insert_session(transaction: Transaction, values: dict[str, Any], *, seconds_to_live: int) -> bool:
    """Insert a pending session. False where the same caller has used the idempotency key before."""
    statement = (
        insert(table)
        .values(**values, status=SessionStatus.PENDING, expires_at=from_start(seconds_to_live))
        .on_conflict_do_nothing(
            index_elements=["tenant", "caller_id", "idempotency_key"],
            index_where=table.c.idempotency_key.is_not(None),
        )
        .returning(table.c.id)
    )
    inserted = (await transaction.execute(statement)).first() is not None
    if inserted:
        on_commit(transaction, SESSIONS.labels(status=SessionStatus.PENDING).inc)
    return inserted


async def get_session(transaction: Transaction, session_id: str, *, tenant: str | None = None) -> Session | None:
    """Return a session, of any tenant where none is given."""
    query = _query().where(table.c.id == session_id)
    if tenant is not None:
        query = query.where(table.c.tenant == tenant)
    row = (await transaction.execute(query)).first()
    return _session(row) if row else None


async def find_idempotent(transaction: Transaction, tenant: str, caller_id: str, key: str) -> Session | None:
    """Return the session that `caller_id` has made with this idempotency key."""
    query = _query().where(table.c.tenant == tenant, table.c.caller_id == caller_id, table.c.idempotency_key == key)
    row = (await transaction.execute(query)).first()
    return _session(row) if row else None


async def lock_session(
    transaction: Transaction,
    *,
    session_id: str | None = None,
    stitch_state: str | None = None,
    ticket_digest: str | None = None,
) -> Session | None:
    """Return the one session that matches and keep it from others until the transaction ends."""
    given = {"id": session_id, "stitch_state": stitch_state, "ticket_digest": ticket_digest}
    query = _query().where(*(table.c[name] == value for name, value in given.items() if value is not None))
    row = (await transaction.execute(query.with_for_update())).first()
    return _session(row) if row else None


async def lock_unlocked_sessions(
    transaction: Transaction, which: ColumnElement[bool], *, limit: int | None = None
) -> list[Session]:
    """Return and lock the sessions that match and that nobody else has locked; so many, the oldest, with `limit`."""
    query = _query().where(which).order_by(table.c.expires_at).limit(limit).with_for_update(skip_locked=True)
    return [_session(row) for row in await transaction.execute(query)]


async def list_sessions(
    transaction: Transaction,
    tenant: str,
    *,
    user_id: str | None,
    status: SessionStatus | None,
    limit: int,
    cursor: str | None,
) -> Page[Session]:
    """Return a tenant's sessions, newest first."""
    query = newest_first(_query().where(table.c.tenant == tenant), table, limit=limit, cursor=cursor)
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    if status is not None:
        query = query.where(_reads_as(status))
    found = [_session(row) for row in await transaction.execute(query)]
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], cursor_after(last.created_at, last.id) if last else None)


async def sessions_of_user(transaction: Transaction, tenant: str, user_id: str, *, limit: int) -> list[Session]:
    """Return and lock so many of a user's sessions."""
    query = _query().where(table.c.tenant == tenant, table.c.user_id == user_id)
    query = query.order_by(table.c.id).limit(limit).with_for_update()
    return [_session(row) for row in await transaction.execute(query)]


async def sessions_awaiting_confirmation(transaction: Transaction, tenant: str, connection_id: str) -> list[Session]:
    """Return and lock the sessions that are to link or renew a connection once they are confirmed.

    Those that are about to await it are locked too, and so seen as they will be.
    """
    is_its = or_(table.c.connection_id == connection_id, table.c.renews_connection_id == connection_id)
    query = _query().where(table.c.tenant == tenant, table.c.ended_at.is_(None), is_its)
    query = query.order_by(table.c.id).with_for_update()
    found = [_session(row) for row in await transaction.execute(query)]
    return [session for session in found if session.status is SessionStatus.AWAITING_CONFIRMATION]


async def change_session(transaction: Transaction, session_id: str, **values: object) -> None:
    """Write `values` and wake whoever waits for this session."""
    await transaction.execute(update(table).where(table.c.id == session_id).values(**values))
    if "status" in values:
        on_commit(transaction, SESSIONS.labels(status=values["status"]).inc)
    await notify(transaction, session_topic(session_id))


async def end_session(transaction: Transaction, session_id: str, status: SessionStatus, **values: object) -> None:
    """End a session, erase every secret that it needed until now, and tell those who want to know."""
    await change_session(
        transaction,
        session_id,
        status=status,
        ended_at=func.now(),
        code_verifier=None,
        authorization_url=None,
        pushed_parameters=None,
        proof_key=None,
        ticket=None,
        token_response=None,
        confirmation_code=None,
        lease_until=None,
        **values,
    )
    ended = await get_session(transaction, session_id)
    assert ended is not None
    connection_id = ended.connection_id or ended.renews_connection_id
    await publish(
        transaction,
        EventType(f"session.{status}"),
        tenant=ended.tenant,
        user_id=ended.user_id,
        stream=connection_id if status is SessionStatus.COMPLETED and connection_id else session_id,
        data={"session_id": session_id, "connection_id": connection_id, "error": ended.error_code},
    )


async def delete_sessions(transaction: Transaction, session_ids: list[str]) -> None:
    """Erase sessions altogether."""
    await transaction.execute(table.delete().where(table.c.id.in_(session_ids)))


def session_binding(column: str, session_id: str) -> Binding:
    """Name the place of a sealed column of a session."""
    return Binding("stitch_authorization_requests", column, session_id)


def proof_key_of(session: Session, key_ring: KeyRing) -> SecretStr | None:
    """Return the key that the login's tokens are to be bound to, if there is one. Raises DecryptionError."""
    if session.proof_key is None:
        return None
    return key_ring.decrypt(session.proof_key, session_binding("proof_key", session.id))
