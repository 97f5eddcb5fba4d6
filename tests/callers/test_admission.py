"""What a request does after a wait, it does only while its caller is still admitted."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.base.encryption import KeyRing
from app.callers.admission import Admission, authenticate
from app.callers.registry import CallerRegistry
from app.errors import UnauthorizedCaller
from app.store.callers import CallerRecord
from app.store.postgresql.database import Database, ForTenant
from tests.conftest import ReplicaFactory
from tests.support.replica import Replica


async def mallory(replica: Replica) -> tuple[Admission, CallerRecord]:
    """Return the admission of a caller that has just been let in."""
    caller, api_key = await replica.callers.registry.create(
        tenant="shop", name="mallory", permissions=["admin"], actor="tests"
    )
    return await authenticate(replica.callers.authenticator, f"Bearer {api_key.get_secret_value()}"), caller


async def refuse(replica: Replica, caller: CallerRecord, how: str) -> None:
    registry = replica.callers.registry
    if how == "disabled":
        await registry.disable(caller.id, actor="operator")
    elif how == "revoked":
        [key] = (await registry.list_keys(caller.id)).items
        await registry.revoke_key(caller.id, key.id, actor="operator")
    else:
        async with replica.core.database.transaction() as transaction:
            await transaction.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 second'"))


@pytest.mark.parametrize("how", ["disabled", "revoked", "expired"])
async def test_a_caller_refused_while_it_waits_for_a_connection_changes_nothing(
    replica: Replica, database_url: SecretStr, key_ring: KeyRing, how: str
) -> None:
    admission, caller = await mallory(replica)
    narrow = Database(database_url, pool_size=1)
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with narrow.transaction():
            is_held.set()
            await may_end.wait()

    holding = asyncio.create_task(hold())
    await is_held.wait()
    creating = asyncio.create_task(
        CallerRegistry(narrow, key_ring).create(
            tenant="shop", name="backdoor", permissions=["admin"], actor=caller.id, requester=admission
        )
    )
    await refuse(replica, caller, how)
    await asyncio.sleep(0.6)
    may_end.set()
    with pytest.raises(UnauthorizedCaller):
        await creating
    await holding
    assert [record.name for record in (await replica.callers.registry.list_callers()).items] == ["mallory"]
    await narrow.close()


@pytest.mark.parametrize("how", ["disabled", "revoked"])
async def test_an_admission_ends_within_half_a_second_of_the_refusal(replicas: ReplicaFactory, how: str) -> None:
    replica = await replicas(cache_ttl=300)
    admission, caller = await mallory(replica)
    await admission.confirm()
    await refuse(replica, caller, how)
    await asyncio.sleep(0.5)
    with pytest.raises(UnauthorizedCaller):
        await admission.confirm()


async def test_work_that_a_request_began_for_its_tenant_goes_on(replica: Replica) -> None:
    """A refresh must not be lost because the caller that began it was refused."""
    _, caller = await mallory(replica)
    await refuse(replica, caller, "disabled")
    await asyncio.sleep(0.6)
    async with replica.core.database.transaction(ForTenant("shop")) as transaction:
        await transaction.execute(text("SELECT 1"))
