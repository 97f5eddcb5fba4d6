"""The transactional outbox: publishes events to the queues of all webhooks that subscribe to them.

Each webhook has a queue for each stream, which is a connection, or a session that ended without one. Adding to a queue
and taking from it both lock the queue's row, so events keep the order of their commits.
"""

from sqlalchemy import any_, func, insert, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.base.randomness import new_id
from app.store.enums import DeliveryStatus, EventType
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.notifications import OUTBOX_TOPIC, notify
from app.store.tables import webhook_deliveries as deliveries
from app.store.tables import webhook_queues as queues
from app.store.tables import webhooks

# How long a delivery is retried.
DELIVERY_TIMEOUT_SECONDS = 86_400.0


async def publish(
    transaction: Transaction,
    event: EventType,
    *,
    tenant: str,
    user_id: str,
    stream: str,
    data: dict[str, str | int | None],
) -> None:
    """Add an event to the queue of `stream` of each subscribed webhook. `data` must contain only ids and codes."""
    subscribed = (
        select(webhooks.c.id, literal(stream), literal(tenant))
        .where(
            webhooks.c.tenant == tenant,
            webhooks.c.deleted_at.is_(None),
            or_(func.cardinality(webhooks.c.events) == 0, literal(event.value) == any_(webhooks.c.events)),
        )
        .order_by(webhooks.c.id)
    )
    # The update of an existing row locks it, so the queue is not deleted as empty before this event is visible.
    queued = (
        upsert(queues)
        .from_select(["webhook_id", "stream", "tenant"], subscribed)
        .on_conflict_do_update(index_elements=["webhook_id", "stream"], set_={"tenant": tenant})
        .returning(queues.c.webhook_id)
        .cte("queued")
    )
    values = {
        "id": new_id("evt"),
        "tenant": tenant,
        "stream": stream,
        "user_id": user_id,
        "type": event.value,
        "data": {**data, "user_id": user_id},
        "status": DeliveryStatus.PENDING.value,
    }
    names = ["webhook_id", "give_up_at", *values]
    chosen = [literal(value, deliveries.c[name].type) for name, value in values.items()]
    written = await transaction.execute(
        insert(deliveries).from_select(
            names, select(queued.c.webhook_id, seconds_from_now(DELIVERY_TIMEOUT_SECONDS), *chosen)
        )
    )
    if written.rowcount:
        await notify(transaction, OUTBOX_TOPIC)
