"""Sessions, which are stored in the table `stitch_authorization_requests`."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import ColumnElement, and_, case, func, literal, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.base.bank_client import BankClient
from app.base.encryption import Ciphertext
from app.observability.metrics import SESSIONS
from app.store.enums import EventType, SessionStatus
from app.store.outbox import publish
from app.store.postgresql.database import Transaction, on_commit
from app.store.postgresql.database_time import TimeValue, seconds_from_transaction_start, seconds_until
from app.store.postgresql.notifications import notify, session_topic
from app.store.postgresql.pagination import Page, fetch_page
from app.store.postgresql.records import columns_of, fetch_all, fetch_first, values_of
from app.store.tables import sessions as table


@dataclass(frozen=True, slots=True)
class Session:
    """One attempt to link an account."""

    id: str
    tenant: str
    issuer: str
    client_id: str
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

    @property
    def bank_client(self) -> BankClient:
        """The client that the user consents to."""
        return BankClient(self.issuer, self.client_id)

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"session_id": self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A pending session to insert."""

    id: str
    tenant: str
    issuer: str
    client_id: str
    caller_id: str
    user_id: str
    stitch_state: str
    nonce_digest: str
    code_challenge: str
    code_verifier: Ciphertext | None = None
    authorization_url: Ciphertext | None = None
    pushed_parameters: Ciphertext | None = None
    proof_key: Ciphertext | None = None
    ticket: Ciphertext | None = None
    ticket_digest: str
    require_confirmation: bool = False
    redirect_uri: str
    return_url: str | None = None
    renews_connection_id: str | None = None
    scopes: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_digest: str | None = None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"session_id": self.id}


class SessionResult(TypedDict, total=False):
    """The columns that say how a session ended."""

    connection_id: str | None
    error_code: str | None
    error_detail: str | None


class SessionChanges(SessionResult, total=False):
    """The columns of a session that change."""

    status: SessionStatus
    browser_digest: str
    code_verifier: Ciphertext | None
    authorization_url: Ciphertext | None
    pushed_parameters: Ciphertext | None
    proof_key: Ciphertext | None
    ticket: Ciphertext | None
    token_response: Ciphertext | None
    confirmation_code: Ciphertext | None
    lease_until: TimeValue | None
    expires_at: TimeValue
    exchanged_at: TimeValue
    ended_at: TimeValue


# A pending session reads as expired once its time is over, even before housekeeping has changed its row.
_has_expired = and_(table.c.status == SessionStatus.PENDING, table.c.expires_at <= func.now())
SELECT_SESSIONS = select(
    *columns_of(
        Session,
        table,
        status=case((_has_expired, literal(SessionStatus.EXPIRED, table.c.status.type)), else_=table.c.status),
        ended_at=case((_has_expired, table.c.expires_at), else_=table.c.ended_at),
        seconds_left=seconds_until(table.c.expires_at),
    )
)


def stored_status_in(*statuses: SessionStatus) -> ColumnElement[bool]:
    """Compare the stored status with constants.

    With parameters instead, PostgreSQL could not tell that a partial index covers all rows that match.
    """
    return table.c.status.in_([literal_column(f"'{status}'") for status in statuses])


def _has_status(status: SessionStatus) -> ColumnElement[bool]:
    """Compare with the status as it is read, in a form that can use the index on the stored status."""
    stored = table.c.status == status
    if status is SessionStatus.PENDING:
        return and_(stored, table.c.expires_at > func.now())
    return or_(stored, _has_expired) if status is SessionStatus.EXPIRED else stored


async def insert_session(transaction: Transaction, session: NewSession, *, seconds_to_live: int) -> bool:
    """Insert a pending session. Return False if the same caller has used the idempotency key before."""
    statement = (
        insert(table)
        .values(
            **values_of(session),
            status=SessionStatus.PENDING,
            expires_at=seconds_from_transaction_start(seconds_to_live),
        )
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
    """Return a session. Without `tenant`, of any tenant."""
    query = SELECT_SESSIONS.where(table.c.id == session_id)
    if tenant is not None:
        query = query.where(table.c.tenant == tenant)
    return await fetch_first(transaction, query, Session)


async def get_session_by_idempotency_key(
    transaction: Transaction, tenant: str, caller_id: str, key: str
) -> Session | None:
    """Return the session that the caller has created with this idempotency key."""
    query = SELECT_SESSIONS.where(
        table.c.tenant == tenant, table.c.caller_id == caller_id, table.c.idempotency_key == key
    )
    return await fetch_first(transaction, query, Session)


async def lock_session(transaction: Transaction, session_id: str) -> Session | None:
    """Return a session and lock its row until the transaction ends."""
    return await _lock_where(transaction, table.c.id == session_id)


async def lock_session_by_state(transaction: Transaction, stitch_state: str) -> Session | None:
    """Return the session of a `state`, given as its digest, and lock its row until the transaction ends."""
    return await _lock_where(transaction, table.c.stitch_state == stitch_state)


async def lock_session_by_ticket(transaction: Transaction, ticket_digest: str) -> Session | None:
    """Return the session of a connect link's ticket, given as its digest, and lock its row."""
    return await _lock_where(transaction, table.c.ticket_digest == ticket_digest)


async def _lock_where(transaction: Transaction, condition: ColumnElement[bool]) -> Session | None:
    return await fetch_first(transaction, SELECT_SESSIONS.where(condition).with_for_update(), Session)


async def lock_unlocked_sessions(
    transaction: Transaction, condition: ColumnElement[bool], *, limit: int | None = None
) -> list[Session]:
    """Return and lock the matching sessions that are not locked yet, at most `limit`, ordered by their expiry."""
    query = SELECT_SESSIONS.where(condition).order_by(table.c.expires_at).limit(limit).with_for_update(skip_locked=True)
    return await fetch_all(transaction, query, Session)


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
    query = SELECT_SESSIONS.where(table.c.tenant == tenant)
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    if status is not None:
        query = query.where(_has_status(status))
    return await fetch_page(transaction, query, table, Session, limit=limit, cursor=cursor)


async def change_session(transaction: Transaction, session_id: str, **changes: Unpack[SessionChanges]) -> None:
    """Update columns of a session, and notify all replicas."""
    await transaction.execute(update(table).where(table.c.id == session_id).values(**changes))
    if "status" in changes:
        on_commit(transaction, SESSIONS.labels(status=changes["status"]).inc)
    await notify(transaction, session_topic(session_id))


async def end_session(
    transaction: Transaction, session_id: str, status: SessionStatus, **result: Unpack[SessionResult]
) -> None:
    """End a session: erase its secrets, notify all replicas and publish an event."""
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
        **result,
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
