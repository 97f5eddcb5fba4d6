"""The hash chain of the audit log shows every change and removal."""

import pytest
from sqlalchemy import text

from app.store import audit_chain
from app.store.audit_chain import Head, verify
from app.store.postgresql.database import Database
from tests.support.audit import fault_of, head_of, record_events


async def tamper(database: Database, *statements: str) -> None:
    """Do what an account that can disable triggers can do."""
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await transaction.execute(text(statement))


THIRD = "(SELECT event_id FROM audit_chain WHERE tenant = 'default' AND position = 3)"
CONTENT = (
    "jsonb_build_array(previous_hash, position, id, audit_events.tenant, extract(epoch FROM occurred_at), actor, "
    "action, session_id, connection_id, request_id, detail)::text"
)


def recompute_hash(position: int) -> str:
    return (
        f"UPDATE audit_chain SET hash = encode(sha256(convert_to({CONTENT}, 'UTF8')), 'hex') "
        f"FROM audit_events WHERE event_id = id AND position = {position}"
    )


def rechain(position: int) -> tuple[str, ...]:
    return (
        (
            f"UPDATE audit_chain SET previous_hash = (SELECT hash FROM audit_chain WHERE position = {position - 1}) "
            f"WHERE position = {position}"
        ),
        recompute_hash(position),
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
        (f"UPDATE audit_events SET actor = 'x' WHERE id = {THIRD}", recompute_hash(3)),
        "the entry does not continue from the one before it",
        4,
    ),
    (
        ("UPDATE audit_events SET actor = 'x' WHERE id = 6", recompute_hash(6)),
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
async def test_tampering_is_found(database: Database, statements: tuple[str, ...], fault: str, position: int) -> None:
    await record_events(database, 6)
    assert await fault_of(database) == (None, None)
    await tamper(database, *statements)
    assert await fault_of(database) == (fault, position)


async def test_an_event_moved_to_another_tenant_breaks_both_chains(database: Database) -> None:
    await record_events(database, 3)
    await record_events(database, 1, "another")
    await tamper(database, f"UPDATE audit_events SET {CHANGES[0]} WHERE id = {THIRD}")
    assert [(chain.intact.tenant, chain.fault) for chain in await verify(database)] == [
        ("another", "the event with the id 3 was never chained, or its entry is gone"),
        ("default", "the event was changed"),
    ]


async def test_the_chains_of_other_tenants_stay_valid(database: Database) -> None:
    await record_events(database, 3)
    await record_events(database, 2, "another")
    await tamper(database, f"DELETE FROM audit_events WHERE id = {THIRD}")
    another, default = await verify(database)
    assert (another.intact.tenant, another.intact.position, another.fault) == ("another", 2, None)
    assert (default.intact.position, default.fault) == (2, "the event was deleted")
    assert await verify(database, tenant="another") == [another]


REWRITTEN = [
    # The last events are deleted with their entries, and the head is set back.
    ((*REMOVE_TAIL, SET_BACK), "the chain was cut off; it went to 6 at least", 5),
    # An event is changed, and the chain is recomputed from there on.
    (
        (
            f"UPDATE audit_events SET actor = 'x' WHERE id = {THIRD}",
            *(statement for position in (3, 4, 5, 6) for statement in rechain(position)),
        ),
        "the entry is not the one that was noted",
        6,
    ),
    # Everything is deleted.
    (
        ("DELETE FROM audit_events", "DELETE FROM audit_chain", "DELETE FROM audit_heads"),
        "the chain was cut off; it went to 6 at least",
        1,
    ),
]


@pytest.mark.parametrize(("statements", "fault", "position"), REWRITTEN)
async def test_only_a_noted_head_reveals_a_recomputed_chain(
    database: Database, statements: tuple[str, ...], fault: str, position: int
) -> None:
    await record_events(database, 6)
    noted = Head.parse(str(await head_of(database)))
    assert await fault_of(database, noted=[noted]) == (None, None)
    await tamper(database, *statements)
    assert await fault_of(database) == (None, None)
    assert await fault_of(database, noted=[noted]) == (fault, position)


async def test_a_noted_head_stays_valid_after_more_events(database: Database) -> None:
    await record_events(database, 3)
    noted = await head_of(database)
    await record_events(database, 3)
    assert await fault_of(database, noted=[noted]) == (None, None)
