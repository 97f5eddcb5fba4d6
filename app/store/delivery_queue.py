"""The queues of webhook deliveries. One replica at a time works on a queue, and sends its oldest event first."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Row, delete, func, literal, or_, select, true, tuple_, update

from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.errors import DecryptionError
from app.observability.logs import get_logger
from app.store.enums import DeliveryStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.tenants import tenants_of
from app.store.tables import webhook_deliveries as deliveries
from app.store.tables import webhook_queues as queues
from app.store.tables import webhooks
from app.store.webhooks import signing_secrets

# When an empty queue is found, this many are deleted at once, and at most this often before the claim is given up.
_QUEUES_PER_SWEEP, _MAX_SWEEPS = 500, 5
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this replica may attempt until the lease ends.

    `failures` counts the failed attempts of its queue since the last success. `secrets` is empty if they cannot be
    decrypted.
    """

    id: str
    tenant: str
    webhook_id: str
    stream: str
    lease: str
    type: str
    data: dict[str, Any]
    occurred_at: datetime
    failures: int
    url: str
    secrets: list[SecretStr] = field(repr=False)


async def claim_delivery(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    lease: float,
    tenant: str,
    excluded_webhooks: list[str],
) -> ClaimedDelivery | None:
    """Lease the tenant's queue that has been due the longest for `lease` seconds, and return its oldest delivery."""
    lease_id = new_id("lease")
    for _ in range(_MAX_SWEEPS):
        queue = await _lock_longest_due_queue(transaction, tenant, excluded_webhooks)
        if queue is None:
            return None
        delivery = await _start_oldest(transaction, queue.webhook_id, queue.stream)
        if delivery is not None:
            break
        # The deliveries were deleted with their user, and there may be more such queues.
        await _delete_empty_queues(transaction, tenant)
    else:
        return None
    await transaction.execute(
        update(queues)
        .where(*_queue(queue.webhook_id, queue.stream))
        .values(lease=lease_id, lease_until=seconds_from_now(lease))
    )
    return ClaimedDelivery(
        id=delivery.id,
        tenant=queue.tenant,
        webhook_id=queue.webhook_id,
        stream=queue.stream,
        lease=lease_id,
        type=delivery.type,
        data=delivery.data,
        occurred_at=delivery.created_at,
        failures=queue.failures,
        url=queue.url,
        secrets=_readable_secrets(key_ring, queue),
    )


async def tenants_with_due_queues(transaction: Transaction) -> list[str]:
    """Return the tenants that have due queues, ordered by name."""
    names = tenants_of(queues)
    now = func.clock_timestamp()
    is_due = (
        select(literal(1))
        .where(
            queues.c.tenant == names.c.tenant,
            queues.c.next_attempt_at <= now,
            or_(queues.c.lease_until.is_(None), queues.c.lease_until <= now),
        )
        .exists()
    )
    query = select(names.c.tenant).where(names.c.tenant.is_not(None), is_due).order_by(names.c.tenant)
    return list((await transaction.execute(query)).scalars())


async def _lock_longest_due_queue(
    transaction: Transaction, tenant: str, excluded_webhooks: list[str]
) -> Row[Any] | None:
    """Looks only at the first due queue of each webhook, so that a webhook with many queues costs no more."""
    now = func.clock_timestamp()
    first = (
        select(queues.c.webhook_id, queues.c.stream, queues.c.failures, queues.c.next_attempt_at)
        .where(
            queues.c.webhook_id == webhooks.c.id,
            queues.c.next_attempt_at <= now,
            or_(queues.c.lease_until.is_(None), queues.c.lease_until <= now),
        )
        .order_by(queues.c.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .lateral("first")
    )
    query = (
        select(
            *(first.c.webhook_id, first.c.stream, first.c.failures, webhooks),
            (webhooks.c.previous_secret_until > now).label("is_rotating"),
        )
        .join(first, true())
        .where(webhooks.c.tenant == tenant, webhooks.c.id.not_in(excluded_webhooks), webhooks.c.deleted_at.is_(None))
        .order_by(first.c.next_attempt_at)
        .limit(1)
    )
    found: Row[Any] | None = (await transaction.execute(query)).first()
    return found


async def _delete_empty_queues(transaction: Transaction, tenant: str) -> None:
    now = func.clock_timestamp()
    waiting = select(literal(1)).where(
        deliveries.c.webhook_id == queues.c.webhook_id,
        deliveries.c.stream == queues.c.stream,
        deliveries.c.ended_at.is_(None),
    )
    chosen = (
        select(queues.c.webhook_id, queues.c.stream)
        .where(
            queues.c.tenant == tenant,
            queues.c.next_attempt_at <= now,
            or_(queues.c.lease_until.is_(None), queues.c.lease_until <= now),
            ~waiting.exists(),
        )
        .limit(_QUEUES_PER_SWEEP)
        .with_for_update(skip_locked=True)
    )
    locked = [(row.webhook_id, row.stream) for row in await transaction.execute(chosen)]
    # Checked again, because only a statement that starts after the lock sees events inserted before it.
    await transaction.execute(
        delete(queues).where(tuple_(queues.c.webhook_id, queues.c.stream).in_(locked), ~waiting.exists())
    )


async def _start_oldest(transaction: Transaction, webhook_id: str, stream: str) -> Row[Any] | None:
    """Count an attempt at the oldest delivery of a queue, and return it. None if the queue is empty."""
    oldest = (
        select(deliveries.c.id)
        .where(*_waiting_in(webhook_id, stream))
        .order_by(deliveries.c.position)
        .limit(1)
        .scalar_subquery()
    )
    begun = await transaction.execute(
        update(deliveries)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.id == oldest)
        .values(attempts=deliveries.c.attempts + 1, last_attempt_at=func.clock_timestamp())
        .returning(deliveries)
    )
    found: Row[Any] | None = begun.first()
    return found


async def record_delivery(transaction: Transaction, delivery: ClaimedDelivery, *, status: int | None) -> None:
    """Record a successful delivery, and make the next one of its queue due."""
    holds_lease = await _lock(transaction, delivery)
    await _write(
        transaction, delivery, DeliveryStatus.DELIVERED, last_status=status, last_error=None, ended_at=func.now()
    )
    if holds_lease:
        await _release(transaction, delivery, failures=0, retry_in=0)


async def record_failure(
    transaction: Transaction, delivery: ClaimedDelivery, *, status: int | None, error: str, retry_in: float
) -> int:
    """Record a failed attempt and delay the queue for `retry_in` seconds. Return how many deliveries were given up.

    All deliveries of the queue whose time is over are given up, so that the queue of a dead receiver stays bounded.
    """
    holds_lease = await _lock(transaction, delivery)
    await _write(transaction, delivery, DeliveryStatus.PENDING, last_status=status, last_error=error)
    if not holds_lease:
        return 0
    given_up = await transaction.execute(
        update(deliveries)
        .where(*_waiting_in(delivery.webhook_id, delivery.stream), deliveries.c.give_up_at <= func.clock_timestamp())
        .values(
            status=DeliveryStatus.GIVEN_UP,
            ended_at=func.now(),
            last_error=func.coalesce(deliveries.c.last_error, error),
        )
    )
    await _release(transaction, delivery, failures=delivery.failures + 1, retry_in=retry_in)
    return given_up.rowcount


async def _lock(transaction: Transaction, delivery: ClaimedDelivery) -> bool:
    """Lock the queue of `delivery`, and return whether its lease is still the same."""
    query = select(queues.c.lease).where(*_queue(delivery.webhook_id, delivery.stream)).with_for_update()
    return (await transaction.execute(query)).scalar() == delivery.lease


async def _write(transaction: Transaction, delivery: ClaimedDelivery, status: DeliveryStatus, **values: object) -> None:
    """Write the outcome, unless another attempt has already ended the delivery."""
    await transaction.execute(
        update(deliveries)
        .where(
            deliveries.c.webhook_id == delivery.webhook_id,
            deliveries.c.id == delivery.id,
            deliveries.c.ended_at.is_(None),
        )
        .values(status=status, **values)
    )


async def _release(transaction: Transaction, delivery: ClaimedDelivery, *, failures: int, retry_in: float) -> None:
    is_empty = ~select(literal(1)).where(*_waiting_in(delivery.webhook_id, delivery.stream)).exists()
    removed = await transaction.execute(delete(queues).where(*_queue(delivery.webhook_id, delivery.stream), is_empty))
    if not removed.rowcount:
        await transaction.execute(
            update(queues)
            .where(*_queue(delivery.webhook_id, delivery.stream))
            .values(failures=failures, next_attempt_at=seconds_from_now(retry_in), lease=None, lease_until=None)
        )


def _queue(webhook_id: str, stream: str) -> tuple[Any, Any]:
    return queues.c.webhook_id == webhook_id, queues.c.stream == stream


def _waiting_in(webhook_id: str, stream: str) -> tuple[Any, ...]:
    return (
        deliveries.c.webhook_id == webhook_id,
        deliveries.c.stream == stream,
        deliveries.c.ended_at.is_(None),
    )


def _readable_secrets(key_ring: KeyRing, row: Any) -> list[SecretStr]:  # noqa: ANN401 - a row of the query above
    try:
        return signing_secrets(key_ring, row)
    except DecryptionError as error:
        logger.error("webhook_secret_unreadable", webhook_id=row.webhook_id, detail=error.detail)  # noqa: TRY400
        return []
