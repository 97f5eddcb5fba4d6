"""Webhook deliveries: listed, queued again, and deleted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.store.enums import DeliveryStatus
from app.store.outbox import DELIVERY_TIMEOUT_SECONDS
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.notifications import OUTBOX_TOPIC, notify
from app.store.postgresql.pagination import Page, fetch_page
from app.store.postgresql.records import columns_of, fetch_first
from app.store.tables import webhook_deliveries as table
from app.store.tables import webhook_queues as queues
from app.store.tables import webhooks


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one event to one webhook."""

    id: str
    webhook_id: str
    type: str
    data: dict[str, Any]
    status: DeliveryStatus
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    ended_at: datetime | None


_next_attempt_at = (
    select(queues.c.next_attempt_at)
    .where(queues.c.webhook_id == table.c.webhook_id, queues.c.stream == table.c.stream, table.c.ended_at.is_(None))
    .scalar_subquery()
)
_DELIVERIES = select(*columns_of(Delivery, table, next_attempt_at=_next_attempt_at))


async def get_delivery(transaction: Transaction, webhook_id: str, delivery_id: str) -> Delivery | None:
    """Return a delivery of a webhook."""
    query = _DELIVERIES.where(table.c.webhook_id == webhook_id, table.c.id == delivery_id)
    return await fetch_first(transaction, query, Delivery)


async def list_deliveries(
    transaction: Transaction, webhook_id: str, *, status: DeliveryStatus | None, limit: int, cursor: str | None
) -> Page[Delivery]:
    """Return a webhook's deliveries, newest first."""
    query = _DELIVERIES.where(table.c.webhook_id == webhook_id)
    if status is not None:
        query = query.where(table.c.status == status)
    return await fetch_page(transaction, query, table, Delivery, limit=limit, cursor=cursor)


async def requeue_delivery(transaction: Transaction, tenant: str, webhook_id: str, delivery_id: str) -> None:
    """Put a delivery back into its queue, at its old position, and make the queue due now.

    Does nothing if there is no such delivery.
    """
    queue = select(table.c.webhook_id, table.c.stream, literal(tenant)).where(
        table.c.webhook_id == webhook_id, table.c.id == delivery_id
    )
    await transaction.execute(
        upsert(queues)
        .from_select(["webhook_id", "stream", "tenant"], queue)
        .on_conflict_do_update(index_elements=["webhook_id", "stream"], set_={"next_attempt_at": seconds_from_now(0)})
    )
    await transaction.execute(
        update(table)
        .where(table.c.webhook_id == webhook_id, table.c.id == delivery_id)
        .values(status=DeliveryStatus.PENDING, ended_at=None, give_up_at=seconds_from_now(DELIVERY_TIMEOUT_SECONDS))
    )
    await notify(transaction, OUTBOX_TOPIC)


async def erase_deliveries_of_user(transaction: Transaction, tenant: str, user_id: str, *, limit: int) -> int:
    """Delete up to `limit` of a user's deliveries, and the queues that become empty. Return the number of deliveries.

    A leased queue is kept, so that the attempt in progress can end. Queues are locked before deliveries, and in the
    order of their keys, as everywhere else, so that there are no deadlocks.
    """
    chosen = select(table.c.webhook_id, table.c.stream, table.c.id)
    chosen = chosen.where(table.c.tenant == tenant, table.c.user_id == user_id).limit(limit)
    found = (await transaction.execute(chosen)).all()
    their_queues = tuple_(queues.c.webhook_id, queues.c.stream).in_({(row.webhook_id, row.stream) for row in found})
    await transaction.execute(
        select(queues.c.webhook_id).where(their_queues).order_by(queues.c.webhook_id, queues.c.stream).with_for_update()
    )
    await transaction.execute(
        delete(table).where(tuple_(table.c.webhook_id, table.c.id).in_([(row.webhook_id, row.id) for row in found]))
    )
    waiting = select(literal(1)).where(
        table.c.webhook_id == queues.c.webhook_id, table.c.stream == queues.c.stream, table.c.ended_at.is_(None)
    )
    is_free = or_(queues.c.lease_until.is_(None), queues.c.lease_until <= func.clock_timestamp())
    await transaction.execute(delete(queues).where(their_queues, is_free, ~waiting.exists()))
    return len(found)


async def delete_deliveries_of_deleted_webhooks(transaction: Transaction, *, limit: int) -> int:
    """Delete the queues of deleted webhooks and up to `limit` of their deliveries. Return the number of deliveries."""
    deleted = select(webhooks.c.id).where(webhooks.c.deleted_at.is_not(None))
    # Queues first: the outcome of a delivery is recorded under the lock of its queue.
    await transaction.execute(delete(queues).where(queues.c.webhook_id.in_(deleted)))
    chosen = (
        select(table.c.webhook_id, table.c.id)
        .where(table.c.webhook_id.in_(deleted))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = await transaction.execute(delete(table).where(tuple_(table.c.webhook_id, table.c.id).in_(chosen)))
    return removed.rowcount


async def measure_outbox(transaction: Transaction) -> tuple[int, float]:
    """Return the number of waiting deliveries, and the age of the oldest one in seconds."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(table.c.created_at))
    query = select(func.count(), func.coalesce(age, 0)).where(table.c.ended_at.is_(None))
    count, oldest = (await transaction.execute(query)).one()
    return int(count), float(oldest)
