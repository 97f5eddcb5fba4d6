"""The chain over the audit: what was changed or removed, by whomever, shows."""

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.errors import InvalidRequest
from app.store import audit, audit_chain
from app.store.audit_chain import START, Chain, Head, verify
from app.store.postgresql.database import Database, Transaction


async def write(transaction: Transaction, tenant: str = "default", action: str = "a", **detail: Any) -> None:
    await audit.record(transaction, action, tenant=tenant, actor="cal_1", connection_id="con_1", **detail)


async def write_many(database: Database, count: int, tenant: str = "default") -> None:
    for number in range(count):
        async with database.transaction() as transaction:
            await write(transaction, tenant, f"deed {number}", number=number)


async def tamper(database: Database, *statements: str) -> None:
    """Do what somebody can do who may switch the triggers off."""
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await transaction.execute(text(statement))


async def fault_of(database: Database, *, noted: Sequence[Head] = ()) -> tuple[str | None, int | None]:
    """Return what is wrong with the one chain that is broken."""
    broken = [chain for chain in await verify(database, noted=noted) if chain.fault is not None]
    assert len(broken) <= 1
    return (broken[0].fault, broken[0].fault_position) if broken else (None, None)


async def test_writers_at_once_leave_an_intact_chain(database: Database) -> None:
    async def one(number: int) -> None:
        for _ in range(4):
            async with database.transaction() as transaction:
                for _ in range(number % 3):
                    await write(transaction, f"tenant-{number % 2}", "b")
                await asyncio.sleep(random.uniform(0, 0.01))
                await write(transaction, f"tenant-{number % 2}")

    await asyncio.gather(*(one(number) for number in range(50)))
    chains = await verify(database)
    assert [(chain.intact.tenant, chain.fault) for chain in chains] == [("tenant-0", None), ("tenant-1", None)]
    assert sum(chain.intact.position for chain in chains) == sum(4 * (1 + number % 3) for number in range(50))


async def test_verification_sees_one_moment_while_others_write(database: Database) -> None:
    writing = asyncio.gather(*(write_many(database, 20) for _ in range(4)))
    seen = []
    while not writing.done():
        seen += await verify(database)
    await writing
    assert len(seen) > 1
    assert {chain.fault for chain in seen} == {None}


async def test_writers_of_several_tenants_do_not_wait_for_each_other_for_ever(database: Database) -> None:
    async def one() -> None:
        for _ in range(10):
            async with database.transaction() as transaction:
                for tenant in ("one", "two", "three"):
                    await write(transaction, tenant)

    async with asyncio.timeout(30):
        await asyncio.gather(*(one() for _ in range(8)))
    assert {(chain.intact.position, chain.fault) for chain in await verify(database)} == {(80, None)}


async def test_the_chain_is_locked_after_whatever_else_a_deed_locks(database: Database) -> None:
    async with database.transaction() as first:
        await write(first)
        async with database.transaction() as second:
            await second.execute(text("SELECT pg_advisory_xact_lock(1)"))
            await write(second)
        # Were the chain locked by the first one since its event, each would wait for the other now.
        await first.execute(text("SELECT pg_advisory_xact_lock(1)"))
    assert await verify(database) == [Chain(await head_of(database))]


async def head_of(database: Database, tenant: str = "default") -> Head:
    async with database.transaction() as transaction:
        found = await transaction.execute(
            text("SELECT tenant, position, hash FROM audit_heads WHERE tenant = :tenant"), {"tenant": tenant}
        )
        return Head(*found.one())


async def test_the_hash_can_be_computed_by_anybody(database: Database) -> None:
    async with database.transaction() as transaction:
        await write(transaction, action='naïve "quotes" \\ \n\x01 🦆', number=1, text="é")
    async with database.transaction() as transaction:
        [event] = (await audit.list_events(transaction, "default", connection_id=None, limit=1, cursor=None)).items
    moment = f"{event.occurred_at.timestamp():.6f}"
    content = json.dumps(
        [
            *(START, 1, event.id, "default", "the moment", "cal_1", event.action, None, "con_1", event.request_id),
            {"text": "é", "number": 1},
        ],
        ensure_ascii=False,
    ).replace('"the moment"', moment)
    assert event.hash == hashlib.sha256(content.encode()).hexdigest()


HARD = ['"', "\\", "\n\t\b\f\r", "\x01\x1f\x7f", "é", "🦆", "\u2028", "a" * 10_000, "", "null", "%s :name $1 {}"]


async def test_no_content_is_too_hard(database: Database) -> None:
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


async def test_the_time_zone_of_a_session_is_of_no_matter(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL TimeZone = 'Asia/Kathmandu'"))
        await transaction.execute(text("SET LOCAL DateStyle = 'German'"))
        await write(transaction)
    async with database.transaction() as transaction:
        await transaction.execute(text("SET TimeZone = 'Africa/Johannesburg'"))
    assert await fault_of(database) == (None, None)


THIRD = "(SELECT event_id FROM audit_chain WHERE tenant = 'default' AND position = 3)"
CONTENT = (
    "jsonb_build_array(previous_hash, position, id, audit_events.tenant, extract(epoch FROM occurred_at), actor, "
    "action, session_id, connection_id, request_id, detail)::text"
)


def hash_anew(position: int) -> str:
    return (
        f"UPDATE audit_chain SET hash = encode(sha256(convert_to({CONTENT}, 'UTF8')), 'hex') "
        f"FROM audit_events WHERE event_id = id AND position = {position}"
    )


def chain_anew(position: int) -> tuple[str, ...]:
    return (
        (
            f"UPDATE audit_chain SET previous_hash = (SELECT hash FROM audit_chain WHERE position = {position - 1}) "
            f"WHERE position = {position}"
        ),
        hash_anew(position),
        f"UPDATE audit_heads SET hash = (SELECT hash FROM audit_chain WHERE position = {position})",
    )


CHANGES = [
    "tenant = 'another'",
    "occurred_at = occurred_at + interval '1 microsecond'",
    "actor = 'somebody else'",
    "action = ''",
    "session_id = ''",
    "connection_id = NULL",
    "request_id = 'null'",
    "detail = '{}'",
    """detail = '{"number": "2"}'""",
]
REMOVE_TAIL = (
    "DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_chain WHERE position > 4)",
    "DELETE FROM audit_chain WHERE position > 4",
)
SET_BACK = "UPDATE audit_heads SET position = 4, hash = (SELECT hash FROM audit_chain WHERE position = 4)"
TAMPERED: list[tuple[tuple[str, ...], str, int]] = [
    ((f"DELETE FROM audit_events WHERE id = {THIRD}",), "the event was deleted", 3),
    (
        (f"DELETE FROM audit_events WHERE id = {THIRD}", "DELETE FROM audit_chain WHERE position = 3"),
        "the entry is missing",
        3,
    ),
    (
        (
            f"DELETE FROM audit_events WHERE id = {THIRD}",
            "DELETE FROM audit_chain WHERE position = 3",
            "UPDATE audit_chain SET position = -position WHERE position > 3",
            "UPDATE audit_chain SET position = -position - 1 WHERE position < 0",
            "UPDATE audit_heads SET position = 5",
        ),
        "the entry does not continue from the one before it",
        3,
    ),
    (("DELETE FROM audit_chain WHERE position = 1",), "the entry is missing", 1),
    (REMOVE_TAIL, "the chain was cut off; it went to 6 at least", 5),
    ((REMOVE_TAIL[1],), "the chain was cut off; it went to 6 at least", 5),
    (
        (
            "UPDATE audit_chain SET event_id = -event_id WHERE position IN (2, 3)",
            "UPDATE audit_chain SET event_id = 2 WHERE position = 3",
            "UPDATE audit_chain SET event_id = 3 WHERE position = 2",
        ),
        "the event was changed",
        2,
    ),
    (
        (f"UPDATE audit_events SET actor = 'x' WHERE id = {THIRD}", hash_anew(3)),
        "the entry does not continue from the one before it",
        4,
    ),
    (
        ("UPDATE audit_events SET actor = 'x' WHERE id = 6", hash_anew(6)),
        "the head does not name the last entry",
        7,
    ),
    (("UPDATE audit_chain SET hash = 'x' WHERE position = 3",), "the event was changed", 3),
    (
        ("UPDATE audit_chain SET previous_hash = 'x' WHERE position = 3",),
        "the entry does not continue from the one before it",
        3,
    ),
    (("DELETE FROM audit_heads",), "the chain has no head", 7),
    (("UPDATE audit_heads SET position = 7",), "the chain was cut off; it went to 7 at least", 7),
    (("UPDATE audit_heads SET position = 5",), "the head does not name the last entry", 7),
    (("DELETE FROM audit_chain", "DELETE FROM audit_heads"), "there is no audit of this tenant", 1),
    (
        ("INSERT INTO audit_events (tenant, actor, action) VALUES ('default', 'x', 'x')",),
        "the event with the id 7 was never chained, or its entry is gone",
        7,
    ),
    (
        ("DELETE FROM audit_chain WHERE position > 4", SET_BACK),
        "the event with the id 5 was never chained, or its entry is gone",
        5,
    ),
    *(
        ((f"UPDATE audit_events SET {change} WHERE id = {THIRD}",), "the event was changed", 3)
        for change in CHANGES[1:]
    ),
    (
        (
            "ALTER TABLE audit_events ALTER id DROP IDENTITY",
            f"UPDATE audit_events SET id = 1000 WHERE id = {THIRD}",
            "UPDATE audit_chain SET event_id = 1000 WHERE position = 3",
        ),
        "the event was changed",
        3,
    ),
]


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "_BATCH", 2)


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize(("statements", "fault", "position"), TAMPERED)
async def test_what_was_tampered_with_is_found(
    database: Database, statements: tuple[str, ...], fault: str, position: int
) -> None:
    await write_many(database, 6)
    assert await fault_of(database) == (None, None)
    await tamper(database, *statements)
    assert await fault_of(database) == (fault, position)


async def test_an_event_moved_to_another_tenant_is_missed_by_both(database: Database) -> None:
    await write_many(database, 3)
    await write_many(database, 1, "another")
    await tamper(database, f"UPDATE audit_events SET {CHANGES[0]} WHERE id = {THIRD}")
    assert [(chain.intact.tenant, chain.fault) for chain in await verify(database)] == [
        ("another", "the event with the id 3 was never chained, or its entry is gone"),
        ("default", "the event was changed"),
    ]


async def test_the_chains_of_other_tenants_still_hold(database: Database) -> None:
    await write_many(database, 3)
    await write_many(database, 2, "another")
    await tamper(database, f"DELETE FROM audit_events WHERE id = {THIRD}")
    another, default = await verify(database)
    assert (another.intact.tenant, another.intact.position, another.fault) == ("another", 2, None)
    assert (default.intact.position, default.fault) == (2, "the event was deleted")
    assert await verify(database, tenant="another") == [another]


REWRITTEN = [
    # The last events and all trace of them.
    ((*REMOVE_TAIL, SET_BACK), "the chain was cut off; it went to 6 at least", 5),
    # A change, and the chain from there on computed anew.
    (
        (
            f"UPDATE audit_events SET actor = 'x' WHERE id = {THIRD}",
            *(statement for position in (3, 4, 5, 6) for statement in chain_anew(position)),
        ),
        "the entry is not the one that was noted",
        6,
    ),
    # Everything.
    (
        ("DELETE FROM audit_events", "DELETE FROM audit_chain", "DELETE FROM audit_heads"),
        "the chain was cut off; it went to 6 at least",
        1,
    ),
]


@pytest.mark.parametrize(("statements", "fault", "position"), REWRITTEN)
async def test_only_a_noted_head_shows_a_chain_made_anew(
    database: Database, statements: tuple[str, ...], fault: str, position: int
) -> None:
    await write_many(database, 6)
    noted = Head.parse(str(await head_of(database)))
    assert await fault_of(database, noted=[noted]) == (None, None)
    await tamper(database, *statements)
    assert await fault_of(database) == (None, None)
    assert await fault_of(database, noted=[noted]) == (fault, position)


async def test_a_noted_head_is_one_of_the_past(database: Database) -> None:
    await write_many(database, 3)
    noted = await head_of(database)
    await write_many(database, 3)
    assert await fault_of(database, noted=[noted]) == (None, None)


@pytest.mark.parametrize(
    "value", ["", "default", "default:1", "default:0:" + START, "default:x:" + START, ":1:" + START, "a:1:" + "0" * 63]
)
def test_a_head_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="TENANT:POSITION:HASH"):
        Head.parse(value)


def test_a_tenant_may_have_colons() -> None:
    assert Head.parse(f"urn:one:2:{START}") == Head("urn:one", 2, START)
