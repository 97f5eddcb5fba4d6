"""The hash chain of the audit log is complete and verifiable, whatever is written and by how many writers."""

import asyncio
import hashlib
import json
import random

import pytest
from sqlalchemy import text

from app.errors import InvalidRequest
from app.store import audit
from app.store.audit_chain import START, Chain, Head, verify
from app.store.postgresql.database import Database
from tests.support.audit import fault_of, head_of, record_event, record_events


async def test_concurrent_writers_leave_an_intact_chain(database: Database) -> None:
    async def one(number: int) -> None:
        for _ in range(4):
            async with database.transaction() as transaction:
                for _ in range(number % 3):
                    await record_event(transaction, f"tenant-{number % 2}", "b")
                await asyncio.sleep(random.uniform(0, 0.01))
                await record_event(transaction, f"tenant-{number % 2}")

    await asyncio.gather(*(one(number) for number in range(50)))
    chains = await verify(database)
    assert [(chain.intact.tenant, chain.fault) for chain in chains] == [("tenant-0", None), ("tenant-1", None)]
    assert sum(chain.intact.position for chain in chains) == sum(4 * (1 + number % 3) for number in range(50))


async def test_verification_reads_one_snapshot_while_others_write(database: Database) -> None:
    writing = asyncio.gather(*(record_events(database, 20) for _ in range(4)))
    seen = []
    while not writing.done():
        seen += await verify(database)
    await writing
    assert len(seen) > 1
    assert {chain.fault for chain in seen} == {None}


async def test_writers_of_several_tenants_do_not_deadlock(database: Database) -> None:
    async def one() -> None:
        for _ in range(10):
            async with database.transaction() as transaction:
                for tenant in ("one", "two", "three"):
                    await record_event(transaction, tenant)

    async with asyncio.timeout(30):
        await asyncio.gather(*(one() for _ in range(8)))
    assert {(chain.intact.position, chain.fault) for chain in await verify(database)} == {(80, None)}


async def test_the_chain_is_locked_after_all_other_locks_of_a_transaction(database: Database) -> None:
    async with database.transaction() as first:
        await record_event(first)
        async with database.transaction() as second:
            await second.execute(text("SELECT pg_advisory_xact_lock(1)"))
            await record_event(second)
        # If the first transaction had locked the chain when it inserted its event, this would be a deadlock.
        await first.execute(text("SELECT pg_advisory_xact_lock(1)"))
    assert await verify(database) == [Chain(await head_of(database))]


async def test_the_hash_can_be_computed_outside_the_database(database: Database) -> None:
    async with database.transaction() as transaction:
        await record_event(transaction, action='naïve "quotes" \\ \n\x01 🦆', number=1, text="é")
    async with database.transaction() as transaction:
        [event] = (await audit.list_events(transaction, "default", connection_id=None, limit=1, cursor=None)).items
    time = f"{event.occurred_at.timestamp():.6f}"
    content = json.dumps(
        [
            *(START, 1, event.id, "default", "the time", "cal_1", event.action, None, "con_1", event.request_id),
            {"text": "é", "number": 1},
        ],
        ensure_ascii=False,
    ).replace('"the time"', time)
    assert event.hash == hashlib.sha256(content.encode()).hexdigest()


HARD = ['"', "\\", "\n\t\b\f\r", "\x01\x1f\x7f", "é", "🦆", "\u2028", "a" * 10_000, "", "null", "%s :name $1 {}"]


async def test_events_with_unusual_characters_are_verifiable(database: Database) -> None:
    async with database.transaction() as transaction:
        for value in HARD:
            await audit.record(
                transaction,
                value,
                tenant="default",
                actor=value,
                session_id=value,
                text=value,
                number=2**53,
                below=-1,
                true=True,
                none=None,
                words=[value],
            )
    assert await fault_of(database) == (None, None)


async def test_the_hash_does_not_depend_on_the_time_zone(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL TimeZone = 'Asia/Kathmandu'"))
        await transaction.execute(text("SET LOCAL DateStyle = 'German'"))
        await record_event(transaction)
    async with database.transaction() as transaction:
        await transaction.execute(text("SET TimeZone = 'Africa/Johannesburg'"))
    assert await fault_of(database) == (None, None)


@pytest.mark.parametrize(
    "value", ["", "default", "default:1", "default:0:" + START, "default:x:" + START, ":1:" + START, "a:1:" + "0" * 63]
)
def test_a_malformed_head_is_rejected(value: str) -> None:
    with pytest.raises(InvalidRequest, match="TENANT:POSITION:HASH"):
        Head.parse(value)


def test_a_head_is_parsed_if_the_tenant_has_colons() -> None:
    assert Head.parse(f"urn:one:2:{START}") == Head("urn:one", 2, START)
