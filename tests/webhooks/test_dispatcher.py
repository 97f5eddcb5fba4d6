"""Deliveries: in order for each connection, at least once, and none holding up another's."""

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
TAKEN = json_reply({})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.webhooks.dispatcher._FIRST_PAUSE", 0.02)
    monkeypatch.setattr("app.webhooks.dispatcher._LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("app.webhooks.dispatcher._POLL", 0.1)


@asynccontextmanager
async def dispatching(*replicas: Replica) -> AsyncIterator[None]:
    """Deliver from these replicas for as long as the block."""
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


async def happen(database: Database, *streams: str, count: int = 1, tenant: str = TENANT) -> None:
    """Publish `count` events of each stream, which say who is next."""
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
    """Take whichever delivery is due."""
    return await claim_delivery(transaction, key_ring, lease=lease, tenant=TENANT, excluded_webhooks=[])


async def listen(replica: Replica, url: str) -> str:
    """Make a webhook."""
    return (await replica.webhooks.service.create(CALLER, url, []))[0].id


def received(hostile: HostileServer, path: str = "/events") -> list[tuple[str, int]]:
    """Return whom each request told of, and its number."""
    bodies = [json.loads(body) for at, _, body in hostile.received if at == path]
    return [(body["data"]["connection_id"], body["data"]["version"]) for body in bodies]


async def all_ended(replica: Replica, webhook_id: str) -> list[Delivery]:
    """Return a webhook's deliveries once none is pending, the oldest first."""

    async def look() -> list[Delivery]:
        page = await replica.webhooks.service.deliveries(CALLER, webhook_id, status=None, limit=200, cursor=None)
        return [] if any(one.status is DeliveryStatus.PENDING for one in page.items) else page.items[::-1]

    return await eventually(look)


def failing(times: int) -> Iterator[Reply]:
    """Fail at first."""
    yield from [FAILING] * times
    yield from itertools.repeat(TAKEN)


async def test_a_connections_events_keep_their_order_through_failures(replica: Replica, hostile: HostileServer) -> None:
    replies = failing(3)
    hostile.replies["/events"] = lambda: next(replies)
    webhook_id = await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, "con_1", count=4)
    async with dispatching(replica):
        deliveries = await all_ended(replica, webhook_id)
    assert received(hostile) == [("con_1", number) for number in (0, 0, 0, 0, 1, 2, 3)]
    assert [(one.status, one.attempts) for one in deliveries] == [
        (DeliveryStatus.DELIVERED, attempts) for attempts in (4, 1, 1, 1)
    ]
    ids = [headers["webhook-id"] for _, headers, _ in hostile.received]
    assert len(set(ids[:4])) == 1
    assert [one.id for one in deliveries] == ids[3:]
    async with replica.core.database.transaction() as transaction:
        assert (await measure_outbox(transaction))[0] == 0


async def test_a_connection_that_waits_holds_up_no_other(replica: Replica, hostile: HostileServer) -> None:
    def reply() -> Reply:
        return FAILING if json.loads(hostile.received[-1][2])["data"]["connection_id"] == "con_1" else TAKEN

    hostile.replies["/events"] = reply
    await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, "con_1", "con_2", count=2)

    async def other_arrived() -> bool:
        return received(hostile).count(("con_2", 1)) == 1

    async with dispatching(replica):
        await eventually(other_arrived)
    assert {one for one in received(hostile) if one[0] == "con_1"} == {("con_1", 0)}


async def test_a_receiver_that_hangs_holds_up_no_other(replicas: ReplicaFactory, hostile: HostileServer) -> None:
    replica = await replicas(webhook_timeout=20)
    hostile.replies["/hangs"] = HANG
    hostile.replies["/events"] = TAKEN
    streams = [f"con_{number}" for number in range(30)]
    await listen(replica, f"{hostile.url}/hangs")
    quick = await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, *streams)
    running = asyncio.create_task(replica.webhooks.dispatcher.run())
    assert len(await all_ended(replica, quick)) == 30
    running.cancel()
    assert hostile.count("/hangs") == 5


async def test_a_tenant_whose_receivers_all_hang_holds_up_no_other(
    replicas: ReplicaFactory, hostile: HostileServer
) -> None:
    replica = await replicas(webhook_timeout=20)
    slow = caller_of("slow")
    for number in range(8):
        hostile.replies[f"/hangs/{number}"] = HANG
        await replica.webhooks.service.create(slow, f"{hostile.url}/hangs/{number}", [])
    hostile.replies["/events"] = TAKEN
    quick = await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, *(f"con_{number}" for number in range(5)), tenant="slow")
    await happen(replica.core.database, "con_of_another")
    running = asyncio.create_task(replica.webhooks.dispatcher.run())
    assert len(await all_ended(replica, quick)) == 1

    async def all_slots_are_taken() -> bool:
        return len(hostile.received) == 1 + 10

    await eventually(all_slots_are_taken)
    running.cancel()


async def test_two_replicas_deliver_each_event_once_and_in_order(
    replicas: ReplicaFactory, hostile: HostileServer
) -> None:
    both = [await replicas(), await replicas()]
    hostile.replies["/events"] = TAKEN
    webhook_id = await listen(both[0], f"{hostile.url}/events")
    streams = [f"con_{number}" for number in range(6)]
    async with dispatching(*both):
        await happen(both[0].core.database, *streams, count=5)
        await all_ended(both[0], webhook_id)
    assert Counter(received(hostile)) == Counter(itertools.product(streams, range(5)))
    by_stream = defaultdict(list)
    for stream, number in received(hostile):
        by_stream[stream].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_stream.values())


async def test_whoever_is_lost_is_replaced_when_its_lease_ends(
    replica: Replica, hostile: HostileServer, key_ring: KeyRing
) -> None:
    hostile.replies["/events"] = TAKEN
    webhook_id = await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, "con_1", count=2)
    async with replica.core.database.transaction() as transaction:
        assert await claim(transaction, key_ring, 0.5)
    async with replica.core.database.transaction() as transaction:
        assert await claim(transaction, key_ring, 0.5) is None
    async with dispatching(replica):
        deliveries = await all_ended(replica, webhook_id)
    assert [one.attempts for one in deliveries] == [2, 1]
    assert received(hostile) == [("con_1", 0), ("con_1", 1)]


async def test_a_tenant_with_ever_so_many_failing_queues_leaves_the_others_their_turn(
    replica: Replica, hostile: HostileServer
) -> None:
    hostile.replies["/failing"] = FAILING
    hostile.replies["/events"] = TAKEN
    await listen(replica, f"{hostile.url}/failing")
    await happen(replica.core.database, *(f"con_{number}" for number in range(60)))
    other = caller_of("other")
    await replica.webhooks.service.create(other, f"{hostile.url}/events", [])
    await happen(replica.core.database, "con_of_other", tenant="other")

    async def has_come() -> bool:
        return received(hostile) == [("con_of_other", 0)]

    async with dispatching(replica):
        await eventually(has_come)
    assert hostile.count("/failing") <= 12


async def test_whoever_comes_late_does_not_release_anothers_queue(replica: Replica, key_ring: KeyRing) -> None:
    await listen(replica, "http://127.0.0.1:9/")
    await happen(replica.core.database, "con_1")
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
    # What was delivered stays so, whatever a late failure says.
    async with replica.core.database.transaction() as transaction:
        await record_failure(transaction, late, status=503, error="refused", retry_in=0)
    [delivery] = await all_ended(replica, current.webhook_id)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.DELIVERED, None)


async def test_after_a_day_events_are_given_up_and_the_next_ones_tried(
    replica: Replica, hostile: HostileServer
) -> None:
    hostile.replies["/events"] = FAILING
    webhook_id = await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, "con_1", count=3)
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(update(webhook_deliveries).values(give_up_at=seconds_from_now(-1)))
    with capture_log_events() as logs:
        async with dispatching(replica):
            deliveries = await all_ended(replica, webhook_id)
            hostile.replies["/events"] = TAKEN
            await happen(replica.core.database, "con_1")
            assert (await all_ended(replica, webhook_id))[-1].status is DeliveryStatus.DELIVERED
    assert [(one.status, one.attempts) for one in deliveries] == [
        (DeliveryStatus.GIVEN_UP, attempts) for attempts in (1, 0, 0)
    ]
    assert {one.last_error for one in deliveries} == {"refused"}
    assert [line["given_up"] for line in logs if line["event"] == "delivery_failed"] == [3]


async def test_what_was_rolled_back_has_not_happened(replica: Replica, hostile: HostileServer, rows: Rows) -> None:
    await listen(replica, f"{hostile.url}/events")
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


async def test_an_event_that_comes_while_another_is_being_written_waits_for_it(replica: Replica, rows: Rows) -> None:
    await listen(replica, "http://127.0.0.1:9/")
    async with replica.core.database.transaction() as transaction:
        await publish(
            transaction,
            EventType.CONNECTION_REFRESHED,
            tenant=TENANT,
            user_id="user-1",
            stream="con_1",
            data={"connection_id": "con_1", "version": 1},
        )
        second = asyncio.create_task(happen(replica.core.database, "con_1"))
        await happen(replica.core.database, "con_2")
        await asyncio.sleep(0.1)
        assert not second.done()
    await second
    by_position = sorted(
        zip(*[await rows.column(webhook_deliveries, name) for name in ("position", "stream", "data")], strict=True),
        key=lambda row: row[0],
    )
    assert [data["version"] for _, stream, data in by_position if stream == "con_1"] == [1, 0]


async def test_nobody_listens_and_nothing_is_written(replica: Replica, rows: Rows) -> None:
    await happen(replica.core.database, "con_1")
    assert await rows.count(webhook_deliveries) == await rows.count(webhook_queues) == 0


async def test_an_erased_users_events_are_gone_but_for_the_end(
    replica: Replica, hostile: HostileServer, rows: Rows, bank: SandboxClient
) -> None:
    hostile.replies["/events"] = TAKEN
    webhook_id = await listen(replica, f"{hostile.url}/events")
    connection = await rows.link(bank)
    await happen(replica.core.database, connection.id, "ses_of_another", count=3)
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(
            update(webhook_deliveries).where(webhook_deliveries.c.stream == "ses_of_another").values(user_id="user-2")
        )
    await replica.connections.disconnect.erase_user(CALLER, "user-1")
    async with dispatching(replica):
        await all_ended(replica, webhook_id)
    told = [json.loads(body) for _, _, body in hostile.received]
    of_user = [one for one in told if one["data"]["connection_id"] == connection.id]
    assert [(one["type"], one["data"]["reason"]) for one in of_user] == [("connection.revoked", "user_erased")]
    assert len(told) == 4


async def test_a_deleted_webhook_gets_nothing_and_is_cleared_away(
    replica: Replica, hostile: HostileServer, rows: Rows
) -> None:
    hostile.replies["/events"] = TAKEN
    gone, other = [await listen(replica, f"{hostile.url}/{path}") for path in ("gone", "events")]
    await happen(replica.core.database, "con_1", count=2)
    await replica.webhooks.service.delete(CALLER, gone)
    await happen(replica.core.database, "con_1")
    async with dispatching(replica):
        assert len(await all_ended(replica, other)) == 3
    assert hostile.count("/gone") == 0
    await replica.maintenance.housekeeping.tend_outbox()
    assert await rows.column(webhook_deliveries, "webhook_id") == [other] * 3
    assert await rows.column(webhooks, "secret") != [None, None]
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(update(webhook_deliveries).values(ended_at=seconds_from_now(-8 * 86_400)))
        await transaction.execute(
            update(webhooks).where(webhooks.c.id == gone).values(deleted_at=seconds_from_now(-8 * 86_400))
        )
    await replica.maintenance.retention.sweep()
    assert await rows.count(webhook_deliveries) == 0
    assert await rows.column(webhooks, "id") == [other]


async def test_a_missing_key_is_seen_and_mended(replicas: ReplicaFactory, hostile: HostileServer) -> None:
    hostile.replies["/events"] = TAKEN
    owner, keyless = await replicas(), await replicas(key_ring=KeyRing({"new": bytes(32)}))
    webhook_id = await listen(owner, f"{hostile.url}/events")
    await happen(owner.core.database, "con_1")

    async def has_failed() -> list[Delivery]:
        page = await owner.webhooks.service.deliveries(CALLER, webhook_id, status=None, limit=1, cursor=None)
        return [one for one in page.items if one.last_error == "secret_unreadable"]

    async with dispatching(keyless):
        await eventually(has_failed)
    async with dispatching(owner):
        [delivery] = await all_ended(owner, webhook_id)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert hostile.count("/events") == 1


async def test_a_replica_that_is_told_to_stop_begins_no_delivery(replica: Replica, hostile: HostileServer) -> None:
    await listen(replica, f"{hostile.url}/events")
    await happen(replica.core.database, "con_1")
    replica.core.shutdown.set()
    await asyncio.wait_for(replica.webhooks.dispatcher.run(), 5)
    assert hostile.received == []


async def test_ever_so_many_queues_that_were_emptied_hold_nobody_up(replica: Replica, key_ring: KeyRing) -> None:
    webhook_id = await listen(replica, "http://127.0.0.1:9/")
    emptied = [{"webhook_id": webhook_id, "stream": f"con_{number}", "tenant": TENANT} for number in range(1_200)]
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(insert(webhook_queues), emptied)
    await happen(replica.core.database, "con_last")
    async with replica.core.database.transaction() as transaction:
        due = await claim(transaction, key_ring, 60)
    assert due is not None
    assert due.stream == "con_last"


async def test_erasing_a_user_and_writing_down_a_delivery_do_not_lock_each_other_out(
    replica: Replica, key_ring: KeyRing
) -> None:
    await listen(replica, "http://127.0.0.1:9/")
    await happen(replica.core.database, "con_1")
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
        await asyncio.sleep(0.2)
        # Without an order of locks, either of the two would be chosen as the victim of a deadlock.
        await record_delivery(transaction, due, status=200)
    await erasing
