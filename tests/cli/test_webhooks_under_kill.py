"""Deliveries go on, in order, when the process that makes them is killed."""

import itertools
import json
from collections import defaultdict

from standardwebhooks.webhooks import Webhook

from app.base.encryption import KeyRing
from app.store.enums import EventType
from app.store.outbox import publish
from app.store.postgresql.database import Database
from app.store.tables import webhook_queues
from app.webhooks.address_guard import AddressGuard
from app.webhooks.service import WebhookService
from tests.cli.conftest import Servers
from tests.support.core import core_of
from tests.support.eventually import eventually
from tests.support.hostile import HANG, HostileServer, Reply, json_reply
from tests.support.replica import CALLER
from tests.support.rows import Rows

STREAMS = [f"con_{number}" for number in range(8)]
EACH = 5


async def write_events(database: Database, tenant: str) -> None:
    """Publish what would be the deeds of several connections."""
    for version, stream in itertools.product(range(EACH), STREAMS):
        async with database.transaction() as transaction:
            await publish(
                transaction,
                EventType.CONNECTION_REFRESHED,
                tenant=tenant,
                user_id="user-1",
                stream=stream,
                data={"connection_id": stream, "version": version},
            )


async def test_each_event_arrives_and_none_before_its_time(
    *, servers: Servers, free_port: int, database: Database, key_ring: KeyRing, rows: Rows, hostile: HostileServer
) -> None:
    webhooks = WebhookService(core_of(database, key_ring), guard=AddressGuard(("127.0.0.0/8",)))
    _, secret = await webhooks.create(CALLER, f"{hostile.url}/events", [])
    await write_events(database, CALLER.tenant)
    answers: list[Reply] = []

    def take_some_and_hang() -> Reply:
        answers.append(HANG if len(answers) >= 10 else json_reply({}))
        return answers[-1]

    hostile.replies["/events"] = take_some_and_hang
    settings = {"BROKER_WEBHOOK_TIMEOUT": "2", "BROKER_WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8"}
    first = await servers.start(port=free_port, **settings)

    async def hangs() -> bool:
        return answers.count(HANG) >= 5

    await eventually(hangs)
    first.process.kill()
    await first.ended()
    hostile.replies["/events"] = json_reply({})
    await servers.start(port=free_port, **settings)

    async def is_empty() -> bool:
        return await rows.count(webhook_queues) == 0

    await eventually(is_empty)
    by_stream: dict[str, list[int]] = defaultdict(list)
    for _, headers, body in hostile.received:
        Webhook(secret.get_secret_value()).verify(body, headers)
        event = json.loads(body)["data"]
        by_stream[event["connection_id"]].append(event["version"])
    assert by_stream.keys() == set(STREAMS)
    for versions in by_stream.values():
        assert versions == sorted(versions)
        assert set(versions) == set(range(EACH))
    # Those that were under way at the kill were sent again.
    assert len(hostile.received) > len(STREAMS) * EACH
