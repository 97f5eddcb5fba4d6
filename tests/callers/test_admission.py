"""After a wait, a request continues only if its caller is still admitted."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.base.encryption import KeyRing
from app.callers.admission import ADMISSION_LIFETIME_SECONDS, Admission, authenticate
from app.callers.registry import CallerRegistry
from app.errors import UnauthorizedCaller
from app.store.callers import CallerRecord
from app.store.postgresql.database import Database, ForTenant
from tests.conftest import ReplicaFactory
from tests.support.replica import Replica


async def mallory(replica: Replica) -> tuple[Admission, CallerRecord]:
    """Return the admission of a caller that has just been authenticated."""
    caller, api_key = await replica.callers.registry.create(
        tenant="shop", name="mallory", permissions=["admin"], actor="tests"
    )
    return await authenticate(replica.callers.authenticator, f"Bearer {api_key.get_secret_value()}"), caller


async def revoke(replica: Replica, caller: CallerRecord, how: str) -> None:
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
async def test_a_caller_revoked_while_it_waits_for_a_database_connection_changes_nothing(
    replica: Replica, database_url: SecretStr, key_ring: KeyRing, how: str
) -> None:
    admission, caller = await mallory(replica)
    narrow = Database(database_url, pool_size=1)
    is_occupied, may_end = asyncio.Event(), asyncio.Event()

    async def occupy() -> None:
        async with narrow.transaction():
            is_occupied.set()
            await may_end.wait()

    occupying = asyncio.create_task(occupy())
    await is_occupied.wait()
    creating = asyncio.create_task(
        CallerRegistry(narrow, key_ring).create(
            tenant="shop", name="backdoor", permissions=["admin"], actor=caller.id, requester=admission
        )
    )
    await revoke(replica, caller, how)
    await asyncio.sleep(ADMISSION_LIFETIME_SECONDS)
    may_end.set()
    with pytest.raises(UnauthorizedCaller):
        await creating
    await occupying
    assert [record.name for record in (await replica.callers.registry.list_callers()).items] == ["mallory"]
    await narrow.close()


@pytest.mark.parametrize("how", ["disabled", "revoked"])
async def test_a_revoked_caller_is_rejected_within_half_a_second(replicas: ReplicaFactory, how: str) -> None:
    replica = await replicas(cache_ttl=300)
    admission, caller = await mallory(replica)
    await admission.confirm()
    await revoke(replica, caller, how)
    await asyncio.sleep(ADMISSION_LIFETIME_SECONDS)
    with pytest.raises(UnauthorizedCaller):
        await admission.confirm()


async def test_work_that_a_request_started_for_its_tenant_continues(replica: Replica) -> None:
    """A refresh must not be lost because the caller that started it was revoked."""
    _, caller = await mallory(replica)
    await revoke(replica, caller, "disabled")
    await asyncio.sleep(ADMISSION_LIFETIME_SECONDS)
    async with replica.core.database.transaction(ForTenant("shop")) as transaction:
        await transaction.execute(text("SELECT 1"))
