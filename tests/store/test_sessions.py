import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from app.base.randomness import new_id
from app.store.dependent_sessions import delete_sessions, lock_sessions_of_user
from app.store.enums import SessionStatus
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import (
    NewSession,
    Session,
    change_session,
    end_session,
    get_session,
    get_session_by_idempotency_key,
    insert_session,
    list_sessions,
    lock_session,
    lock_session_by_state,
    lock_session_by_ticket,
)
from tests.support.rows import CLIENT, TENANT


def new_session(**values: Any) -> NewSession:
    session_id = new_id("ses")
    session = NewSession(
        id=session_id,
        tenant=TENANT,
        issuer=CLIENT.issuer,
        client_id=CLIENT.client_id,
        caller_id="cal_1",
        user_id="user-1",
        stitch_state=f"state of {session_id}",
        nonce_digest="nonce",
        code_challenge="challenge",
        ticket_digest=f"ticket of {session_id}",
        redirect_uri="https://broker.example/callback",
    )
    return replace(session, **values)


async def add(database: Database, *, seconds_to_live: int = 900, **values: Any) -> Session:
    new = new_session(**values)
    async with database.transaction() as transaction:
        assert await insert_session(transaction, new, seconds_to_live=seconds_to_live)
        session = await get_session(transaction, new.id)
    assert session is not None
    return session


async def test_a_session_is_visible_to_its_tenant_only(database: Database) -> None:
    session = await add(database)
    assert session.status is SessionStatus.PENDING
    async with database.transaction() as transaction:
        found = await get_session(transaction, session.id, tenant=TENANT)
        assert found is not None
        assert found.id == session.id
        assert await get_session(transaction, session.id, tenant="elsewhere") is None


@pytest.mark.parametrize(
    ("lock_by", "name"),
    [(lock_session, "id"), (lock_session_by_state, "stitch_state"), (lock_session_by_ticket, "ticket_digest")],
)
async def test_a_session_is_locked_by_its_id_state_or_ticket(
    database: Database, lock_by: Callable[[Transaction, str], Awaitable[Session | None]], name: str
) -> None:
    session = await add(database)
    await add(database)
    order: list[str] = []

    async def lock(mark: str, entered: asyncio.Event) -> None:
        async with database.transaction() as transaction:
            found = await lock_by(transaction, getattr(session, name))
            assert found is not None
            assert found.id == session.id
            entered.set()
            order.append(f"{mark} in")
            await asyncio.sleep(0.1)
            order.append(f"{mark} out")

    first, second = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(lock("first", first))
    await first.wait()
    await lock("second", second)
    await task
    assert order == ["first in", "first out", "second in", "second out"]
    async with database.transaction() as transaction:
        assert await lock_session(transaction, "ses_unknown") is None


async def test_a_pending_session_whose_time_is_over_reads_as_expired(database: Database) -> None:
    session = await add(database, seconds_to_live=-1)
    assert (session.status, session.ended_at) == (SessionStatus.EXPIRED, session.expires_at)
    assert session.seconds_left < 0
    async with database.transaction() as transaction:
        for status, expected in ((SessionStatus.EXPIRED, [session.id]), (SessionStatus.PENDING, [])):
            page = await list_sessions(transaction, TENANT, user_id=None, status=status, limit=9, cursor=None)
            assert [found.id for found in page.items] == expected


async def test_a_caller_has_one_session_for_an_idempotency_key(database: Database) -> None:
    session = await add(database, idempotency_key="key")
    other = await add(database, idempotency_key="key", caller_id="cal_2")
    async with database.transaction() as transaction:
        assert not await insert_session(transaction, new_session(idempotency_key="key"), seconds_to_live=900)
        found = await get_session_by_idempotency_key(transaction, TENANT, "cal_1", "key")
        assert found is not None
        assert found.id == session.id != other.id
        assert await get_session_by_idempotency_key(transaction, TENANT, "cal_1", "another") is None


async def test_a_tenants_sessions_are_listed_in_pages(database: Database) -> None:
    made = [(await add(database, user_id="a")).id for _ in range(3)]
    await add(database, user_id="b")
    await add(database, user_id="a", tenant="elsewhere")
    async with database.transaction() as transaction:
        first = await list_sessions(transaction, TENANT, user_id="a", status=None, limit=2, cursor=None)
        second = await list_sessions(transaction, TENANT, user_id="a", status=None, limit=2, cursor=first.next_cursor)
        assert {found.id for found in await lock_sessions_of_user(transaction, TENANT, "a", limit=10)} == set(made)
    assert [found.id for found in (*first.items, *second.items)] == made[::-1]
    assert second.next_cursor is None


async def test_ending_a_session_erases_its_secrets(database: Database) -> None:
    session = await add(database)
    async with database.transaction() as transaction:
        await change_session(transaction, session.id, lease_until=seconds_from_now(100))
        await end_session(transaction, session.id, SessionStatus.FAILED, error_code="server_error")
        ended = await get_session(transaction, session.id)
    assert ended is not None
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "server_error")
    assert ended.ended_at is not None
    secrets = (ended.code_verifier, ended.authorization_url, ended.ticket, ended.token_response)
    assert (*secrets, ended.confirmation_code) == (None,) * 5


async def test_a_session_can_be_deleted(database: Database) -> None:
    session = await add(database)
    async with database.transaction() as transaction:
        await delete_sessions(transaction, [session.id])
        assert await get_session(transaction, session.id) is None
