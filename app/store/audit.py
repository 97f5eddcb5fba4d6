"""Who did what: written in the transaction of the deed, never changed.

The database refuses to change or delete an event, and chains it to its tenant's event before when the deed commits.
`app.store.audit_chain` says how, and checks it.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from app.errors import InvalidRequest
from app.observability.logs import current_request_id
from app.store.postgresql.database import Transaction
from app.store.postgresql.pagination import Page
from app.store.tables import audit_chain
from app.store.tables import audit_events as table

BROKER = "broker"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One deed. `position` counts a tenant's deeds, from 1, in the order in which they were committed."""

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


_columns = [(table.c if name in table.c else audit_chain.c)[name] for name in AuditEvent.__dataclass_fields__]


async def record(
    transaction: Transaction,
    *,
    tenant: str,
    actor: str,
    action: str,
    session_id: str | None = None,
    connection_id: str | None = None,
    **detail: str | int | bool | list[str] | None,
) -> None:
    """Write down a deed of `actor`, a caller's id or the broker itself. `detail` holds no secret."""
    await transaction.execute(
        insert(table).values(
            tenant=tenant,
            actor=actor,
            action=action,
            session_id=session_id,
            connection_id=connection_id,
            request_id=current_request_id(),
            detail=detail,
        )
    )


async def list_events(
    transaction: Transaction, tenant: str, *, connection_id: str | None, limit: int, cursor: str | None
) -> Page[AuditEvent]:
    """Return a tenant's events, oldest first.

    In the order of their positions: whoever has read up to one has missed none before it, as none can appear there.
    """
    query = (
        select(*_columns)
        .join_from(audit_chain, table, audit_chain.c.event_id == table.c.id)
        .where(audit_chain.c.tenant == tenant, table.c.tenant == tenant)
        .order_by(audit_chain.c.position)
        .limit(limit + 1)
    )
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    if cursor is not None:
        query = query.where(audit_chain.c.position > _decode(cursor))
    found = [AuditEvent(**row._mapping) for row in await transaction.execute(query)]
    following = len(found) > limit
    return Page(found[:limit], _encode(found[limit - 1].position) if following else None)


def _encode(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    try:
        position = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not 0 <= position < 2**63:
            raise ValueError(position)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("`cursor` must be a `next_cursor` of the same list", code="invalid_cursor") from error
    return position
