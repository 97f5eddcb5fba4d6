"""Helpers for tests of deliveries."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

from app.base.encryption import KeyRing
from app.store.deliveries import Delivery
from app.store.delivery_queue import ClaimedDelivery, claim_delivery
from app.store.enums import DeliveryStatus, EventType
from app.store.outbox import publish
from app.store.postgresql.database import Database, Transaction
from tests.support.eventually import eventually
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.replica import CALLER, Replica
from tests.support.rows import TENANT

FAILING = json_reply({}, 503)

ACCEPTED = json_reply({})


@asynccontextmanager
async def dispatching(*replicas: Replica) -> AsyncIterator[None]:
    """Deliver from these replicas during the block."""
    running = [asyncio.create_task(replica.webhooks.dispatcher.run()) for replica in replicas]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for replica in replicas:
            await replica.core.tasks.drain(5)


async def publish_events(database: Database, *streams: str, count: int = 1, tenant: str = TENANT) -> None:
    """Publish `count` numbered events in each stream."""
    for number, stream in itertools.product(range(count), streams):
        async with database.transaction() as transaction:
            await publish(
                transaction,
                EventType.CONNECTION_REFRESHED,
                tenant=tenant,
                user_id="user-1",
                stream=stream,
                data={"connection_id": stream, "version": number},
            )


async def claim(transaction: Transaction, key_ring: KeyRing, lease: float) -> ClaimedDelivery | None:
    """Claim a due delivery of the test's tenant."""
    return await claim_delivery(transaction, key_ring, lease=lease, tenant=TENANT, excluded_webhooks=[])


async def create_webhook(replica: Replica, url: str) -> str:
    """Create a webhook, and return its id."""
    return (await replica.webhooks.service.create(CALLER, url, []))[0].id


def received(hostile: HostileServer, path: str = "/events") -> list[tuple[str, int]]:
    """Return the stream and number of each event that was received."""
    bodies = [json.loads(body) for at, _, body in hostile.received if at == path]
    return [(body["data"]["connection_id"], body["data"]["version"]) for body in bodies]


async def all_ended(replica: Replica, webhook_id: str) -> list[Delivery]:
    """Return the deliveries of a webhook, oldest first, once none is pending."""

    async def deliveries() -> list[Delivery]:
        page = await replica.webhooks.service.deliveries(CALLER, webhook_id, status=None, limit=200, cursor=None)
        return [] if any(delivery.status is DeliveryStatus.PENDING for delivery in page.items) else page.items[::-1]

    return await eventually(deliveries)


def failing(times: int) -> Iterator[Reply]:
    """Fail `times` times, then accept."""
    yield from [FAILING] * times
    yield from itertools.repeat(ACCEPTED)
