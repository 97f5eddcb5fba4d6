"""Audit events are inserted with the action, in the order of the commits, and never changed."""

from typing import Any

import pytest
import sqlalchemy.exc
from pydantic import SecretStr
from sqlalchemy import text

from app.base.randomness import new_id
from app.observability.logs import set_request_id
from app.store import audit
from app.store.audit import AuditEvent, list_events
from app.store.audit_chain import verify
from app.store.postgresql.database import Database
from app.store.postgresql.pagination import Page

CONNECTION = "con_1"


async def write(database: Database, action: str, *, tenant: str = "default", **more: Any) -> None:
    async with database.transaction() as transaction:
        await audit.record(transaction, action, tenant=tenant, actor="cal_1", **more)


async def read(
    database: Database, tenant: str = "default", *, connection_id: str | None = None, limit: int = 50, **more: Any
) -> Page[AuditEvent]:
    async with database.transaction() as transaction:
        return await list_events(
            transaction, tenant, connection_id=connection_id, limit=limit, cursor=more.get("cursor")
        )


async def actions_in(database: Database, tenant: str = "default", **more: Any) -> list[str]:
    return [event.action for event in (await read(database, tenant, **more)).items]


async def test_an_event_has_everything_that_was_recorded(database: Database) -> None:
    set_request_id("req_1")
    await write(database, "a", session_id="ses_1", connection_id=CONNECTION, version=2, scopes=["openid"], error=None)
    [event] = (await read(database)).items
    assert (event.actor, event.action, event.session_id, event.connection_id) == ("cal_1", "a", "ses_1", CONNECTION)
    assert event.request_id == "req_1"
    assert event.detail == {"version": 2, "scopes": ["openid"], "error": None}
    assert event.occurred_at.tzinfo is not None
    assert event.position == 1
    assert len(bytes.fromhex(event.hash)) == 32


async def test_events_are_listed_by_tenant_and_connection_oldest_first(database: Database) -> None:
    await write(database, "a", connection_id=CONNECTION)
    await write(database, "of another tenant", tenant="another", connection_id=CONNECTION)
    await write(database, "b")
    await write(database, "c", connection_id=CONNECTION)
    assert await actions_in(database) == ["a", "b", "c"]
    assert await actions_in(database, connection_id=CONNECTION) == ["a", "c"]
    assert await actions_in(database, "another") == ["of another tenant"]
    assert [event.position for event in (await read(database)).items] == [1, 2, 3]


async def test_a_rolled_back_action_leaves_neither_an_event_nor_a_gap(database: Database) -> None:
    await write(database, "a")
    with pytest.raises(RuntimeError):
        async with database.transaction() as transaction:
            await audit.record(transaction, "undone", tenant="default", actor="cal_1")
            raise RuntimeError
    await write(database, "b")
    assert [(event.position, event.action) for event in (await read(database)).items] == [(1, "a"), (2, "b")]


async def test_a_reader_of_pages_misses_no_event_that_was_committed_late(database: Database) -> None:
    async with database.transaction() as late:
        await audit.record(late, "begun first", tenant="default", actor="cal_1")
        await write(database, "a")
        await write(database, "b")
        page = await read(database, limit=1)
        assert [event.action for event in page.items] == ["a"]
    assert await actions_in(database, cursor=page.next_cursor) == ["b", "begun first"]


CHANGES = [
    "UPDATE audit_events SET actor = 'somebody else'",
    "UPDATE audit_events SET actor = actor WHERE false",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events",
    "UPDATE audit_chain SET hash = ''",
    "DELETE FROM audit_chain",
    "TRUNCATE audit_chain",
    "DELETE FROM audit_heads",
    "TRUNCATE audit_heads",
    "UPDATE audit_heads SET position = position - 1",
    "UPDATE audit_heads SET hash = ''",
    "UPDATE audit_heads SET tenant = 'another', position = position + 1",
    "INSERT INTO audit_events (tenant, actor, action) VALUES ('', '', '') ON CONFLICT (id) DO UPDATE SET actor = 'x'",
    "MERGE INTO audit_events AS event USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_the_database_refuses_to_change_the_audit_log(database: Database, change: str) -> None:
    await write(database, "a")
    before = (await read(database)).items
    with pytest.raises(sqlalchemy.exc.IntegrityError, match=r"the audit log is append-only: .* is refused"):
        async with database.transaction() as transaction:
            await transaction.execute(text(change))
    assert (await read(database)).items == before
    assert (await verify(database))[0].fault is None


@pytest.fixture
async def restricted(database: Database, database_url: SecretStr) -> Any:
    """The database for a role that has only the privileges on the audit log that the broker needs."""
    role = new_id("role")
    async with database.transaction() as owner:
        await owner.execute(text(f"CREATE ROLE {role} LOGIN"))
        await owner.execute(text(f"GRANT SELECT, INSERT ON audit_events TO {role}"))
        await owner.execute(text(f"GRANT SELECT ON audit_chain TO {role}"))
    yield (restricted := Database(SecretStr(database_url.get_secret_value().replace("//broker@", f"//{role}@"))))
    await restricted.close()
    async with database.transaction() as owner:
        await owner.execute(text(f"DROP OWNED BY {role}"))
        await owner.execute(text(f"DROP ROLE {role}"))


async def test_a_role_without_privileges_on_the_chain_can_record_events(
    database: Database, restricted: Database
) -> None:
    await write(restricted, "a")
    await write(restricted, "b")
    assert await actions_in(restricted) == ["a", "b"]
    assert [(chain.fault, chain.intact.position) for chain in await verify(database)] == [(None, 2)]


@pytest.mark.parametrize(
    "attempt",
    [
        *CHANGES[:-2],
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "ALTER TABLE audit_events DISABLE TRIGGER append_only",
        "DROP TRIGGER chained ON audit_events",
        "SET session_replication_role = replica",
        "INSERT INTO audit_chain VALUES ('default', 2, 2, '', '')",
        "INSERT INTO audit_heads VALUES ('another', 2, '')",
        "DROP FUNCTION audit_chain_event CASCADE",
        "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    ],
)
async def test_a_role_without_privileges_on_the_chain_cannot_bypass_it(
    database: Database, restricted: Database, attempt: str
) -> None:
    await write(database, "a")
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match=r"permission denied|must be owner"):
        async with restricted.transaction() as transaction:
            await transaction.execute(text(attempt))
    assert [(chain.fault, chain.intact.position) for chain in await verify(database)] == [(None, 1)]


async def test_a_temporary_table_cannot_replace_the_chain(database: Database, restricted: Database) -> None:
    async with restricted.transaction() as transaction:
        for table in ("audit_heads (tenant text PRIMARY KEY, position bigint, hash text)", "audit_chain (tenant text)"):
            await transaction.execute(text(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP"))
        await audit.record(transaction, "a", tenant="default", actor="cal_1")
    assert [(chain.fault, chain.intact.position) for chain in await verify(database)] == [(None, 1)]
