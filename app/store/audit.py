"""The audit log: who did what. An event is inserted in the transaction of the action, and never changed.

The database refuses to update or delete events, and chains each to the previous event of its tenant at the commit. See
`app.store.audit_chain`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import insert, select

from app.observability.logs import current_request_id
from app.store.postgresql.database import Transaction
from app.store.postgresql.pagination import Page, decode_cursor, page_of
from app.store.postgresql.records import columns_of
from app.store.tables import audit_chain
from app.store.tables import audit_events as table

BROKER = "broker"


class Subject(Protocol):
    """A row that an event is about."""

    @property
    def tenant(self) -> str:
        """The tenant that the row belongs to."""
        ...

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids by which the event names the row, for example `session_id`."""
        ...


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One action. `position` numbers a tenant's events from 1, in the order of their commits."""

    id: int
    position: int
    occurred_at: datetime
    actor: str
    action: str
    session_id: str | None
    connection_id: str | None
    request_id: str | None
    detail: dict[str, Any]
    hash: str


_EVENTS = select(*columns_of(AuditEvent, table, position=audit_chain.c.position, hash=audit_chain.c.hash)).join_from(
    audit_chain, table, audit_chain.c.event_id == table.c.id
)


async def record(
    transaction: Transaction,
    action: str,
    *,
    of: Subject | None = None,
    tenant: str | None = None,
    actor: str = BROKER,
    **detail: str | int | bool | list[str] | None,
) -> None:
    """Append an event to the audit log of the tenant of `of`, or of `tenant` if no row is concerned.

    `actor` is the id of a caller, or the broker itself. `session_id` and `connection_id`, whether of the subject or in
    `detail`, have columns of their own. `detail` must not hold secrets.
    """
    values = {**(of.audit_ids if of else {}), **detail}
    await transaction.execute(
        insert(table).values(
            tenant=of.tenant if of else tenant,
            actor=actor,
            action=action,
            session_id=values.pop("session_id", None),
            connection_id=values.pop("connection_id", None),
            request_id=current_request_id(),
            detail=values,
        )
    )


async def list_events(
    transaction: Transaction, tenant: str, *, connection_id: str | None, limit: int, cursor: str | None
) -> Page[AuditEvent]:
    """Return a tenant's events, oldest first.

    They are ordered by position, so no event can later appear before one that was already read.
    """
    query = _EVENTS.where(audit_chain.c.tenant == tenant, table.c.tenant == tenant)
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    if cursor is not None:
        query = query.where(audit_chain.c.position > decode_cursor(cursor, _position))
    rows = (await transaction.execute(query.order_by(audit_chain.c.position).limit(limit + 1))).all()
    return page_of(rows, AuditEvent, limit=limit, position=lambda row: row.position)


def _position(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(value)
    return value
