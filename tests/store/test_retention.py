"""Old rows are deleted, rows that are still needed are kept, and the audit log stays verifiable."""

import asyncio

import pytest
import sqlalchemy.exc
from sqlalchemy import insert, select, text, update

from app.store import audit
from app.store.audit_chain import Head, verify
from app.store.enums import ConnectionStatus, InteractionStatus
from app.store.postgresql.database import Database, Transaction
from app.store.retention import (
    Batch,
    delete_old_interactions,
    delete_old_refresh_attempts,
    delete_old_sessions,
    delete_old_tombstones,
    erase_refused_tokens,
    shorten_audit_log,
)
from app.store.tables import audit_events, connections, interactions, refresh_attempts, sessions, tokens
from tests.support.audit import days_ago, insert_event
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows

DAY = 86_400


async def test_sessions_are_deleted_after_their_retention_time(replica: Replica, rows: Rows) -> None:
    old, young, pending = [await replica.start_login() for _ in range(3)]
    await rows.change_session(old.id, ended_at=days_ago(91))
    await rows.change_session(young.id, ended_at=days_ago(89))
    await rows.change_session(pending.id, created_at=days_ago(91))
    async with replica.core.database.transaction() as transaction:
        assert await delete_old_sessions(transaction, days=90, limit=10) == Batch(1, has_more=False)
    assert set(await rows.column(sessions, "id")) == {young.id, pending.id}


async def test_refused_tokens_are_erased_after_their_retention_time(database: Database, rows: Rows) -> None:
    old, young, active = [await rows.insert() for _ in range(3)]
    async with database.transaction() as transaction:
        for connection, days in ((old, 8), (young, 6)):
            refused = update(tokens).where(tokens.c.connection_id == connection.id)
            await transaction.execute(refused.values(refused_at=days_ago(days)))
        assert await erase_refused_tokens(transaction, days=7, limit=10) == Batch(1, has_more=False)
    assert set(await rows.column(tokens, "connection_id")) == {young.id, active.id}


async def test_a_locked_session_is_left_for_the_next_batch(replica: Replica, rows: Rows) -> None:
    one, other = [await replica.start_login() for _ in range(2)]
    for session in (one, other):
        await rows.change_session(session.id, ended_at=days_ago(91))
    async with replica.core.database.transaction() as busy:
        await busy.execute(select(sessions.c.id).where(sessions.c.id == one.id).with_for_update())
        async with asyncio.timeout(5), replica.core.database.transaction() as transaction:
            assert (await delete_old_sessions(transaction, days=90, limit=10)).deleted == 1
    assert await rows.column(sessions, "id") == [one.id]


async def attempt(transaction: Transaction, connection_id: str, version: int, days: float) -> None:
    values = {"tenant": TENANT, "connection_id": connection_id, "version": version, "fence": version}
    await transaction.execute(
        insert(refresh_attempts).values(**values, cause="expired", replica="rep", started_at=days_ago(days))
    )


async def test_attempts_are_deleted_unless_they_concern_the_current_token(database: Database, rows: Rows) -> None:
    connection, revoked = await rows.insert(), await rows.insert()
    await rows.change_connection(connection.id, version=5)
    await rows.change_connection(revoked.id, version=5, status=ConnectionStatus.REVOKED)
    async with database.transaction() as transaction:
        for version in (1, 2, 3, 4, 5):
            await attempt(transaction, connection.id, version, days=40)
        await attempt(transaction, revoked.id, 5, days=40)
        await attempt(transaction, revoked.id, 6, days=1)
    removed, after, has_more = 0, 0, True
    while has_more:
        async with database.transaction() as transaction:
            batch = await delete_old_refresh_attempts(transaction, days=30, limit=2, after=after)
        removed, after, has_more = removed + batch.deleted, batch.last_id, batch.has_more
    assert removed == 4
    assert await rows.attempts(connection.id) == [(4, None), (5, None)]
    assert await rows.attempts(revoked.id) == [(6, None)]


async def test_a_tombstone_is_deleted_with_its_rows_in_other_tables(database: Database, rows: Rows) -> None:
    old, young, active = [await rows.insert() for _ in range(3)]
    for connection, days in ((old, 31), (young, 29)):
        await rows.change_connection(connection.id, status=ConnectionStatus.REVOKED, revoked_at=days_ago(days))
    async with database.transaction() as transaction:
        await attempt(transaction, old.id, 1, days=1)
        assert await delete_old_tombstones(transaction, days=30, limit=10) == Batch(1, has_more=False)
    assert set(await rows.column(connections, "id")) == {young.id, active.id}
    assert old.id not in await rows.column(tokens, "connection_id")
    assert await rows.count(refresh_attempts) == 0


async def test_interactions_are_deleted_after_their_retention_time(database: Database, rows: Rows) -> None:
    async with database.transaction() as transaction:
        for name, days in (("old", 8), ("young", 6)):
            await transaction.execute(
                insert(interactions).values(
                    id=name,
                    tenant=TENANT,
                    user_id="user-1",
                    connection_id="con_1",
                    interaction_id="bank's",
                    status=InteractionStatus.PENDING,
                    ticket_digest=name,
                    expires_at=days_ago(days),
                )
            )
    async with database.transaction() as transaction:
        assert await delete_old_interactions(transaction, days=7, limit=10) == Batch(1, has_more=False)
    assert await rows.column(interactions, "id") == ["young"]


async def shorten(database: Database, *, days: int = 100, limit: int = 10, tenant: str = TENANT) -> Batch:
    async with database.transaction() as transaction:
        return await shorten_audit_log(transaction, tenant=tenant, days=days, limit=limit)


async def verified_head(database: Database, tenant: str = TENANT) -> Head:
    [chain] = await verify(database, tenant=tenant)
    assert chain.fault is None
    return chain.intact


async def test_the_audit_log_is_verifiable_after_its_oldest_events_were_deleted(database: Database, rows: Rows) -> None:
    for days in (120, 110, 101, 99, 120, 1):
        await insert_event(database, days)
    await insert_event(database, 200, tenant="another")
    before = await verified_head(database)
    assert await shorten(database, limit=2) == Batch(2, has_more=True)
    assert await shorten(database, limit=2) == Batch(1, has_more=False), "what is behind a young one stays"
    assert await shorten(database) == Batch(0, has_more=False)
    assert await rows.count(audit_events) == 4
    chains = {chain.intact.tenant: chain for chain in await verify(database, noted=[before])}
    assert (chains[TENANT].fault, chains[TENANT].removed, chains[TENANT].intact) == (None, 3, before)
    assert chains["another"].removed == 0
    await insert_event(database, 0)
    assert (await verified_head(database)).position == 7
    async with database.transaction() as transaction:
        page = await audit.list_events(transaction, TENANT, connection_id=None, limit=10, cursor=None)
    assert [event.position for event in page.items] == [4, 5, 6, 7]


async def test_all_events_can_be_deleted_if_all_are_old(database: Database, rows: Rows) -> None:
    for _ in range(3):
        await insert_event(database, 200)
    head = await verified_head(database)
    assert (await shorten(database)).deleted == 3
    assert await rows.count(audit_events) == 0
    assert await verified_head(database) == head
    await insert_event(database, 1)
    assert (await verified_head(database)).position == 4


async def test_a_noted_head_of_the_deleted_part_is_reported(database: Database) -> None:
    await insert_event(database, 200)
    noted = await verified_head(database)
    await insert_event(database, 200)
    await shorten(database)
    [chain] = await verify(database, noted=[noted])
    assert chain.fault is not None
    assert "removed for its age" in chain.fault
    [chain] = await verify(database, noted=[Head(TENANT, 2, "0" * 64)])
    assert chain.fault == "the entry is not the one that was noted"


@pytest.mark.parametrize("days", [0, 1, 29])
async def test_recent_events_are_never_deleted(database: Database, rows: Rows, days: int) -> None:
    await insert_event(database, 29)
    assert await shorten(database, days=days) == Batch(0, has_more=False)
    assert await rows.count(audit_events) == 1


async def test_nothing_is_deleted_from_a_broken_chain(database: Database, rows: Rows) -> None:
    for _ in range(3):
        await insert_event(database, 200)
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        await transaction.execute(update(audit_events).where(audit_events.c.id == 2).values(actor="somebody else"))
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="broken at position 2"):
        await shorten(database)
    assert await rows.count(audit_events) == 3


LAST = "(SELECT max(position) FROM audit_chain)"
LINK = f"(SELECT position, hash FROM audit_chain WHERE position = {LAST})"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE id = 3",
        "DELETE FROM audit_chain",
        "UPDATE audit_events SET actor = 'nobody'",
        "UPDATE audit_chain SET hash = ''",
        "TRUNCATE audit_events, audit_chain",
        "DELETE FROM audit_checkpoints",
        "TRUNCATE audit_checkpoints",
        "UPDATE audit_checkpoints SET position = 0, hash = repeat('0', 64)",
        "UPDATE audit_checkpoints SET tenant = 'another'",
        f"UPDATE audit_checkpoints SET position = {LAST}, hash = repeat('0', 64)",
        f"UPDATE audit_checkpoints SET (position, hash) = {LINK}",
        "INSERT INTO audit_checkpoints (tenant, position, hash) VALUES ('another', 1, repeat('0', 64))",
    ],
)
async def test_no_other_statement_deletes_from_the_audit_log(database: Database, statement: str) -> None:
    await insert_event(database, 200)
    await shorten(database)
    for _ in range(2):
        await insert_event(database, 1)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
        async with database.transaction() as transaction:
            await transaction.execute(text(statement))
    assert (await verified_head(database)).position == 3
