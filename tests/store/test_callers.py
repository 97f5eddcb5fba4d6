import pytest

from app.base.encryption import KeyRing
from app.errors import DecryptionError
from app.store.callers import (
    CallerRecord,
    disable_caller,
    find_callers,
    find_usable_key,
    hashing_key,
    insert_api_key,
    insert_caller,
    list_api_keys,
    list_callers,
    record_key_use,
    revoke_api_key,
)
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import api_keys


async def add_caller(transaction: Transaction, name: str = "shop", tenant: str = "default") -> CallerRecord:
    caller = await insert_caller(
        transaction, caller_id=f"cal_{tenant}_{name}", tenant=tenant, name=name, permissions=["sessions:read"]
    )
    assert caller is not None
    return caller


async def add_key(transaction: Transaction, caller: CallerRecord, name: str = "one") -> None:
    await insert_api_key(
        transaction, key_id=f"key_{name}", caller=caller, prefix=f"brk_{name}", keyed_hash="hash", expires_at=None
    )


async def test_the_hashing_key_is_generated_once_and_stored_encrypted(database: Database, key_ring: KeyRing) -> None:
    keys = []
    for _ in range(2):
        async with database.transaction() as transaction:
            keys.append((await hashing_key(transaction, key_ring)).get_secret_value())
    assert keys[0] == keys[1]
    async with database.transaction() as transaction:
        with pytest.raises(DecryptionError):
            await hashing_key(transaction, KeyRing({"other": bytes(32)}))


async def test_a_tenant_has_at_most_one_caller_of_a_name(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        again = await insert_caller(transaction, caller_id="cal_2", tenant="default", name="shop", permissions=[])
        assert again is None
        other = await add_caller(transaction, tenant="elsewhere")
        assert await find_callers(transaction, "shop", tenant="elsewhere") == [other]
        assert await find_callers(transaction, "shop", tenant=None) == [caller, other]
        assert await find_callers(transaction, caller.id, tenant="default") == [caller]
        assert await find_callers(transaction, caller.id, tenant="elsewhere") == []
        assert (await list_callers(transaction, tenant="default", limit=9, cursor=None)).items == [caller]
        everyone = (await list_callers(transaction, tenant=None, limit=9, cursor=None)).items
        assert {found.id for found in everyone} == {caller.id, other.id}


async def test_an_id_is_never_mistaken_for_another_callers_name(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        await add_caller(transaction, name=caller.id, tenant="a_first_tenant")
        assert await find_callers(transaction, caller.id, tenant=None) == [caller]


async def test_a_usable_key_is_found_by_its_prefix(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        await add_key(transaction, caller)
        assert await find_usable_key(transaction, "brk_one") == (caller, "key_one", "hash", None)
        assert await find_usable_key(transaction, "brk_two") is None


async def test_a_key_that_expires_is_found_with_its_remaining_seconds(database: Database) -> None:
    async with database.transaction() as transaction:
        await add_key(transaction, await add_caller(transaction))
        await transaction.execute(api_keys.update().values(expires_at=seconds_from_now(100)))
        found = await find_usable_key(transaction, "brk_one")
    assert found is not None
    assert found[3] is not None
    assert 90 < found[3] <= 101


async def test_an_expired_key_is_not_usable(database: Database) -> None:
    async with database.transaction() as transaction:
        await add_key(transaction, await add_caller(transaction))
        await transaction.execute(api_keys.update().values(expires_at=seconds_from_now(-1)))
    async with database.transaction() as transaction:
        assert await find_usable_key(transaction, "brk_one") is None


async def test_a_revoked_key_is_not_usable_and_keeps_its_first_revocation_time(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        await add_key(transaction, caller, "one")
        await add_key(transaction, caller, "two")
    async with database.transaction() as transaction:
        assert not await revoke_api_key(transaction, "cal_another", "key_one")
        assert await revoke_api_key(transaction, caller.id, "key_one")
        first, other = (await list_api_keys(transaction, caller.id, limit=10, cursor=None)).items
    async with database.transaction() as transaction:
        assert await revoke_api_key(transaction, caller.id, "key_one")
        again, _ = (await list_api_keys(transaction, caller.id, limit=10, cursor=None)).items
        assert await find_usable_key(transaction, "brk_one") is None
        assert await find_usable_key(transaction, "brk_two") is not None
    assert first.revoked_at is not None
    assert (first.revoked_at, other.revoked_at) == (again.revoked_at, None)


async def test_no_key_of_a_disabled_caller_is_usable(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        await add_key(transaction, caller)
        await disable_caller(transaction, caller.id)
        assert await find_usable_key(transaction, "brk_one") is None


async def test_use_is_recorded(database: Database) -> None:
    async with database.transaction() as transaction:
        caller = await add_caller(transaction)
        await add_key(transaction, caller, "one")
        await add_key(transaction, caller, "two")
        await record_key_use(transaction, ["key_one"])
        one, two = (await list_api_keys(transaction, caller.id, limit=10, cursor=None)).items
    assert one.last_used_at is not None
    assert two.last_used_at is None
