"""Deliveries: at least once, in order for each connection, and without delaying others."""

import asyncio
import itertools
import json
from collections import Counter, defaultdict

from sqlalchemy import insert

from app.base.encryption import KeyRing
from app.store.deliveries import measure_outbox
from app.store.delivery_queue import claim_delivery, record_delivery, record_failure
from app.store.enums import DeliveryStatus
from app.store.tables import webhook_queues
from tests.conftest import ReplicaFactory
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, Reply
from tests.support.replica import Replica, caller_of
from tests.support.rows import TENANT
from tests.webhooks.deliveries import (
    ACCEPTED,
    FAILING,
    all_ended,
    claim,
    create_webhook,
    dispatching,
    failing,
    publish_events,
    received,
)


async def test_a_connections_events_keep_their_order_through_failures(replica: Replica, hostile: HostileServer) -> None:
    replies = failing(3)
    hostile.replies["/events"] = lambda: next(replies)
    webhook_id = await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, "con_1", count=4)
    async with dispatching(replica):
        deliveries = await all_ended(replica, webhook_id)
    assert received(hostile) == [("con_1", number) for number in (0, 0, 0, 0, 1, 2, 3)]
    assert [(delivery.status, delivery.attempts) for delivery in deliveries] == [
        (DeliveryStatus.DELIVERED, attempts) for attempts in (4, 1, 1, 1)
    ]
    ids = [headers["webhook-id"] for _, headers, _ in hostile.received]
    assert len(set(ids[:4])) == 1
    assert [delivery.id for delivery in deliveries] == ids[3:]
    async with replica.core.database.transaction() as transaction:
        assert (await measure_outbox(transaction))[0] == 0


async def test_a_connection_whose_delivery_fails_does_not_delay_another(
    replica: Replica, hostile: HostileServer
) -> None:
    def reply() -> Reply:
        return FAILING if json.loads(hostile.received[-1][2])["data"]["connection_id"] == "con_1" else ACCEPTED

    hostile.replies["/events"] = reply
    await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, "con_1", "con_2", count=2)

    async def other_arrived() -> bool:
        return received(hostile).count(("con_2", 1)) == 1

    async with dispatching(replica):
        await eventually(other_arrived)
    assert {event for event in received(hostile) if event[0] == "con_1"} == {("con_1", 0)}


async def test_a_receiver_that_hangs_does_not_delay_another(replicas: ReplicaFactory, hostile: HostileServer) -> None:
    replica = await replicas(webhook_timeout=20)
    hostile.replies["/hangs"] = HANG
    hostile.replies["/events"] = ACCEPTED
    streams = [f"con_{number}" for number in range(30)]
    await create_webhook(replica, f"{hostile.url}/hangs")
    quick = await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, *streams)
    running = asyncio.create_task(replica.webhooks.dispatcher.run())
    assert len(await all_ended(replica, quick)) == 30
    running.cancel()
    assert hostile.count("/hangs") == 5


async def test_a_tenant_whose_receivers_all_hang_does_not_delay_another(
    replicas: ReplicaFactory, hostile: HostileServer
) -> None:
    replica = await replicas(webhook_timeout=20)
    slow = caller_of("slow")
    for number in range(8):
        hostile.replies[f"/hangs/{number}"] = HANG
        await replica.webhooks.service.create(slow, f"{hostile.url}/hangs/{number}", [])
    hostile.replies["/events"] = ACCEPTED
    quick = await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, *(f"con_{number}" for number in range(5)), tenant="slow")
    await publish_events(replica.core.database, "con_of_another")
    running = asyncio.create_task(replica.webhooks.dispatcher.run())
    assert len(await all_ended(replica, quick)) == 1

    async def all_slots_are_used() -> bool:
        return len(hostile.received) == 1 + 10

    await eventually(all_slots_are_used)
    running.cancel()


async def test_two_replicas_deliver_each_event_once_and_in_order(
    replicas: ReplicaFactory, hostile: HostileServer
) -> None:
    both = [await replicas(), await replicas()]
    hostile.replies["/events"] = ACCEPTED
    webhook_id = await create_webhook(both[0], f"{hostile.url}/events")
    streams = [f"con_{number}" for number in range(6)]
    async with dispatching(*both):
        await publish_events(both[0].core.database, *streams, count=5)
        await all_ended(both[0], webhook_id)
    assert Counter(received(hostile)) == Counter(itertools.product(streams, range(5)))
    by_stream = defaultdict(list)
    for stream, number in received(hostile):
        by_stream[stream].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_stream.values())


async def test_another_replica_delivers_when_the_lease_of_a_lost_one_ends(
    replica: Replica, hostile: HostileServer, key_ring: KeyRing
) -> None:
    hostile.replies["/events"] = ACCEPTED
    webhook_id = await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, "con_1", count=2)
    async with replica.core.database.transaction() as transaction:
        assert await claim(transaction, key_ring, 0.5)
    async with replica.core.database.transaction() as transaction:
        assert await claim(transaction, key_ring, 0.5) is None
    async with dispatching(replica):
        deliveries = await all_ended(replica, webhook_id)
    assert [delivery.attempts for delivery in deliveries] == [2, 1]
    assert received(hostile) == [("con_1", 0), ("con_1", 1)]


async def test_a_tenant_with_many_failing_queues_does_not_delay_another(
    replica: Replica, hostile: HostileServer
) -> None:
    hostile.replies["/failing"] = FAILING
    hostile.replies["/events"] = ACCEPTED
    await create_webhook(replica, f"{hostile.url}/failing")
    await publish_events(replica.core.database, *(f"con_{number}" for number in range(60)))
    other = caller_of("other")
    await replica.webhooks.service.create(other, f"{hostile.url}/events", [])
    await publish_events(replica.core.database, "con_of_other", tenant="other")

    async def has_arrived() -> bool:
        return received(hostile) == [("con_of_other", 0)]

    async with dispatching(replica):
        await eventually(has_arrived)
    assert hostile.count("/failing") <= 12


async def test_a_replica_whose_lease_has_ended_does_not_release_the_queue(replica: Replica, key_ring: KeyRing) -> None:
    await create_webhook(replica, "http://127.0.0.1:9/")
    await publish_events(replica.core.database, "con_1")
    claims = []
    for lease in (0, 60):
        async with replica.core.database.transaction() as transaction:
            claims.append(await claim_delivery(transaction, key_ring, lease=lease, tenant=TENANT, excluded_webhooks=[]))
    late, current = claims
    assert late is not None
    assert current is not None
    async with replica.core.database.transaction() as transaction:
        await record_failure(transaction, late, status=503, error="refused", retry_in=0)
    async with replica.core.database.transaction() as transaction:
        assert await claim(transaction, key_ring, 60) is None
        await record_delivery(transaction, current, status=200)
    # A late failure does not change a delivery that has succeeded.
    async with replica.core.database.transaction() as transaction:
        await record_failure(transaction, late, status=503, error="refused", retry_in=0)
    [delivery] = await all_ended(replica, current.webhook_id)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.DELIVERED, None)


async def test_a_replica_that_shuts_down_starts_no_delivery(replica: Replica, hostile: HostileServer) -> None:
    await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, "con_1")
    replica.core.shutdown.set()
    await asyncio.wait_for(replica.webhooks.dispatcher.run(), 20)
    assert hostile.received == []


async def test_many_empty_queues_do_not_block_the_others(replica: Replica, key_ring: KeyRing) -> None:
    webhook_id = await create_webhook(replica, "http://127.0.0.1:9/")
    empty = [{"webhook_id": webhook_id, "stream": f"con_{number}", "tenant": TENANT} for number in range(1_200)]
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(insert(webhook_queues), empty)
    await publish_events(replica.core.database, "con_last")
    async with replica.core.database.transaction() as transaction:
        due = await claim(transaction, key_ring, 60)
    assert due is not None
    assert due.stream == "con_last"
