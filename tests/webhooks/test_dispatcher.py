"""Deliveries: at least once, in order for each connection, and without delaying others."""

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import insert, select, update

from app.base.encryption import KeyRing
from app.store.deliveries import Delivery, erase_deliveries_of_user, measure_outbox
from app.store.delivery_queue import ClaimedDelivery, claim_delivery, record_delivery, record_failure
from app.store.enums import DeliveryStatus, EventType
from app.store.outbox import publish
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import webhook_deliveries, webhook_queues, webhooks
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, Reply, json_reply
from tests.support.logs import capture_log_events
from tests.support.replica import CALLER, Replica, caller_of
from tests.support.rows import TENANT, Rows

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


async def test_after_a_day_events_are_given_up_and_later_ones_are_sent(
    replica: Replica, hostile: HostileServer
) -> None:
    hostile.replies["/events"] = FAILING
    webhook_id = await create_webhook(replica, f"{hostile.url}/events")
    await publish_events(replica.core.database, "con_1", count=3)
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(update(webhook_deliveries).values(give_up_at=seconds_from_now(-1)))
    with capture_log_events() as logs:
        async with dispatching(replica):
            deliveries = await all_ended(replica, webhook_id)
            hostile.replies["/events"] = ACCEPTED
            await publish_events(replica.core.database, "con_1")
            assert (await all_ended(replica, webhook_id))[-1].status is DeliveryStatus.DELIVERED
    assert [(delivery.status, delivery.attempts) for delivery in deliveries] == [
        (DeliveryStatus.GIVEN_UP, attempts) for attempts in (1, 0, 0)
    ]
    assert {delivery.last_error for delivery in deliveries} == {"refused"}
    assert [line["given_up"] for line in logs if line["event"] == "delivery_failed"] == [3]


async def test_an_event_that_was_rolled_back_is_not_delivered(
    replica: Replica, hostile: HostileServer, rows: Rows
) -> None:
    await create_webhook(replica, f"{hostile.url}/events")
    with pytest.raises(RuntimeError):
        async with replica.core.database.transaction() as transaction:
            await publish(
                transaction,
                EventType.CONNECTION_REVOKED,
                tenant=TENANT,
                user_id="user-1",
                stream="con_1",
                data={"connection_id": "con_1"},
            )
            raise RuntimeError
    assert await rows.count(webhook_deliveries) == await rows.count(webhook_queues) == 0


async def test_an_event_waits_for_an_uncommitted_earlier_event_of_its_stream(replica: Replica, rows: Rows) -> None:
    await create_webhook(replica, "http://127.0.0.1:9/")
    async with replica.core.database.transaction() as transaction:
        await publish(
            transaction,
            EventType.CONNECTION_REFRESHED,
            tenant=TENANT,
            user_id="user-1",
            stream="con_1",
            data={"connection_id": "con_1", "version": 1},
        )
        second = asyncio.create_task(publish_events(replica.core.database, "con_1"))
        await publish_events(replica.core.database, "con_2")
        await rows.wait_until_blocked()
        assert not second.done()
    await second
    by_position = sorted(
        zip(*[await rows.column(webhook_deliveries, name) for name in ("position", "stream", "data")], strict=True),
        key=lambda row: row[0],
    )
    assert [data["version"] for _, stream, data in by_position if stream == "con_1"] == [1, 0]


async def test_without_webhooks_nothing_is_written(replica: Replica, rows: Rows) -> None:
    await publish_events(replica.core.database, "con_1")
    assert await rows.count(webhook_deliveries) == await rows.count(webhook_queues) == 0


async def test_erasing_a_user_deletes_all_its_events_but_the_last(
    replica: Replica, hostile: HostileServer, rows: Rows, bank: SandboxClient
) -> None:
    hostile.replies["/events"] = ACCEPTED
    webhook_id = await create_webhook(replica, f"{hostile.url}/events")
    connection = await rows.link(bank)
    await publish_events(replica.core.database, connection.id, "ses_of_another", count=3)
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(
            update(webhook_deliveries).where(webhook_deliveries.c.stream == "ses_of_another").values(user_id="user-2")
        )
    await replica.connections.disconnect.erase_user(CALLER, "user-1")
    async with dispatching(replica):
        await all_ended(replica, webhook_id)
    bodies = [json.loads(body) for _, _, body in hostile.received]
    of_user = [body for body in bodies if body["data"]["connection_id"] == connection.id]
    assert [(body["type"], body["data"]["reason"]) for body in of_user] == [("connection.revoked", "user_erased")]
    assert len(bodies) == 4


async def test_a_deleted_webhook_gets_no_events_and_is_removed(
    replica: Replica, hostile: HostileServer, rows: Rows
) -> None:
    hostile.replies["/events"] = ACCEPTED
    deleted, other = [await create_webhook(replica, f"{hostile.url}/{path}") for path in ("deleted", "events")]
    await publish_events(replica.core.database, "con_1", count=2)
    await replica.webhooks.service.delete(CALLER, deleted)
    await publish_events(replica.core.database, "con_1")
    async with dispatching(replica):
        assert len(await all_ended(replica, other)) == 3
    assert hostile.count("/deleted") == 0
    await replica.maintenance.housekeeping.clean_up_outbox()
    assert await rows.column(webhook_deliveries, "webhook_id") == [other] * 3
    assert await rows.column(webhooks, "secret") != [None, None]
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(update(webhook_deliveries).values(ended_at=seconds_from_now(-8 * 86_400)))
        await transaction.execute(
            update(webhooks).where(webhooks.c.id == deleted).values(deleted_at=seconds_from_now(-8 * 86_400))
        )
    await replica.maintenance.retention.sweep()
    assert await rows.count(webhook_deliveries) == 0
    assert await rows.column(webhooks, "id") == [other]


async def test_a_replica_without_the_key_fails_and_one_with_it_delivers(
    replicas: ReplicaFactory, hostile: HostileServer
) -> None:
    hostile.replies["/events"] = ACCEPTED
    owner, keyless = await replicas(), await replicas(key_ring=KeyRing({"new": bytes(32)}))
    webhook_id = await create_webhook(owner, f"{hostile.url}/events")
    await publish_events(owner.core.database, "con_1")

    async def has_failed() -> list[Delivery]:
        page = await owner.webhooks.service.deliveries(CALLER, webhook_id, status=None, limit=1, cursor=None)
        return [delivery for delivery in page.items if delivery.last_error == "secret_unreadable"]

    async with dispatching(keyless):
        await eventually(has_failed)
    async with dispatching(owner):
        [delivery] = await all_ended(owner, webhook_id)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert hostile.count("/events") == 1


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


async def test_erasing_a_user_and_recording_a_delivery_do_not_deadlock(
    replica: Replica, rows: Rows, key_ring: KeyRing
) -> None:
    await create_webhook(replica, "http://127.0.0.1:9/")
    await publish_events(replica.core.database, "con_1")
    async with replica.core.database.transaction() as transaction:
        due = await claim(transaction, key_ring, 60)
    assert due is not None

    async def erase() -> None:
        async with replica.core.database.transaction() as transaction:
            await erase_deliveries_of_user(transaction, TENANT, "user-1", limit=100)
            await publish(
                transaction,
                EventType.CONNECTION_REVOKED,
                tenant=TENANT,
                user_id="user-1",
                stream="con_1",
                data={"connection_id": "con_1"},
            )

    async with replica.core.database.transaction() as transaction:
        lock = select(webhook_queues).where(webhook_queues.c.stream == "con_1").with_for_update()
        await transaction.execute(lock)
        erasing = asyncio.create_task(erase())
        await rows.wait_until_blocked()
        # Without a fixed order of locks, PostgreSQL would detect a deadlock and abort one of the two.
        await record_delivery(transaction, due, status=200)
    await erasing
