"""What a request does after a wait is done by its caller then."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.base.encryption import KeyRing
from app.callers.registry import CallerRegistry
from app.errors import UnauthorizedCaller
from app.store.callers import CallerRecord
from app.store.postgresql.connection_quota import work_for
from app.store.postgresql.database import Database
from app.store.standing import act_with


@pytest.fixture
def registry(database: Database, key_ring: KeyRing) -> CallerRegistry:
    return CallerRegistry(database, key_ring)


async def mallory(registry: CallerRegistry) -> tuple[CallerRecord, str]:
    """Return a caller and the id of its key."""
    caller, _ = await registry.create(tenant="shop", name="mallory", permissions=["admin"], actor="tests")
    return caller, (await registry.list_keys(caller.id)).items[0].id


@pytest.mark.parametrize("refusal", ["disabled", "revoked", "expired"])
async def test_who_was_refused_while_waiting_for_a_connection_does_nothing_more(
    database: Database, database_url: SecretStr, registry: CallerRegistry, refusal: str
) -> None:
    caller, key_id = await mallory(registry)
    narrow = Database(database_url, pool_size=1)
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with narrow.transaction():
            is_held.set()
            await may_end.wait()

    async def make_another() -> None:
        work_for("shop")
        act_with(key_id)
        await CallerRegistry(narrow, registry._key_ring).create(
            tenant="shop", name="backdoor", permissions=["admin"], actor=caller.id
        )

    holding = asyncio.create_task(hold())
    await is_held.wait()
    making = asyncio.create_task(make_another())
    if refusal == "disabled":
        await registry.disable(caller.id, actor="operator")
    elif refusal == "revoked":
        await registry.revoke_key(caller.id, key_id, actor="operator")
    else:
        async with database.transaction() as transaction:
            await transaction.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 second'"))
    await asyncio.sleep(0.6)
    may_end.set()
    with pytest.raises(UnauthorizedCaller):
        await making
    await holding
    assert [one.name for one in (await registry.list_callers()).items] == ["mallory"]
    await narrow.close()


async def test_it_is_asked_after_a_wait_of_the_request_itself_only(
    database: Database, registry: CallerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, key_id = await mallory(registry)
    act_with(key_id)
    await registry.disable(caller.id, actor="operator")

    async def work() -> None:
        async with database.transaction() as transaction:
            await transaction.execute(text("SELECT 1"))

    await work()
    monkeypatch.setattr("app.store.standing.SOON", 0.0)
    with pytest.raises(UnauthorizedCaller):
        await work()
    # A refresh that it began goes on: its token must not be lost, and others wait for it.
    await asyncio.create_task(work())
    act_with(None)
    await work()
