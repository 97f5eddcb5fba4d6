"""The outbox: which events become deliveries, and when these are given up or deleted."""

import asyncio
import json

import pytest
from sqlalchemy import select, update

from app.base.encryption import KeyRing
from app.store.deliveries import Delivery, erase_deliveries_of_user
from app.store.delivery_queue import record_delivery
from app.store.enums import DeliveryStatus, EventType
from app.store.outbox import publish
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import webhook_deliveries, webhook_queues, webhooks
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.eventually import eventually
from tests.support.hostile import HostileServer
from tests.support.logs import capture_log_events
from tests.support.replica import CALLER, Replica
from tests.support.rows import TENANT, Rows
from tests.webhooks.deliveries import (
    ACCEPTED,
    FAILING,
    all_ended,
    claim,
    create_webhook,
    dispatching,
    publish_events,
)


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
