import asyncio

from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.store.connections import TokenSet
from app.store.postgresql.database import Database
from app.store.revocations import (
    Revocation,
    claim_due_revocations,
    count_revocations,
    delete_revocation,
    enqueue_revocation,
    postpone_revocation,
)
from tests.support.rows import CLIENT

TOKENS = TokenSet(SecretStr("access"), SecretStr("refresh"))


async def enqueue(database: Database, key_ring: KeyRing, tokens: TokenSet = TOKENS, *, tenant: str = "default") -> None:
    async with database.transaction() as transaction:
        await enqueue_revocation(transaction, key_ring, tenant=tenant, client=CLIENT, tokens=tokens, reason="tested")


async def claim(database: Database, key_ring: KeyRing, *, lease: float = 100, limit: int = 20) -> list[Revocation]:
    async with database.transaction() as transaction:
        return await claim_due_revocations(transaction, key_ring, client=CLIENT, lease=lease, limit=limit)


async def count(database: Database) -> int:
    async with database.transaction() as transaction:
        return await count_revocations(transaction)


async def test_the_refresh_token_is_revoked_if_there_is_one(database: Database, key_ring: KeyRing) -> None:
    await enqueue(database, key_ring)
    await enqueue(database, key_ring, TokenSet(SecretStr("access"), None))
    taken = {
        revocation.token_type_hint: revocation.token.get_secret_value()
        for revocation in await claim(database, key_ring)
    }
    assert taken == {"refresh_token": "refresh", "access_token": "access"}


async def test_a_revocation_is_claimed_by_one_replica_only(database: Database, key_ring: KeyRing) -> None:
    for _ in range(6):
        await enqueue(database, key_ring)
    taken = await asyncio.gather(*(claim(database, key_ring, limit=2) for _ in range(5)))
    names = [revocation.id for batch in taken for revocation in batch]
    assert sorted(names) == sorted(set(names))
    rest = await claim(database, key_ring)
    assert len({*names, *(revocation.id for revocation in rest)}) == 6
    assert await claim(database, key_ring) == []


async def test_the_oldest_of_each_tenant_is_claimed_before_the_second_of_any(
    database: Database, key_ring: KeyRing
) -> None:
    for tenant in ("wild", "wild", "wild", "wild", "a", "z"):
        await enqueue(database, key_ring, tenant=tenant)
    batches = [[revocation.tenant for revocation in await claim(database, key_ring, limit=3)] for _ in range(2)]
    assert [sorted(batch) for batch in batches] == [["a", "wild", "z"], ["wild"] * 3]


async def test_an_unfinished_revocation_is_claimed_again_after_its_lease(database: Database, key_ring: KeyRing) -> None:
    await enqueue(database, key_ring)
    (first,) = await claim(database, key_ring, lease=-1)
    (second,) = await claim(database, key_ring)
    assert (first.id, first.attempts, second.attempts) == (second.id, 1, 2)
    assert "refresh" not in repr(second).replace("refresh_token", "")


async def test_a_postponed_revocation_waits_and_a_finished_one_is_deleted(
    database: Database, key_ring: KeyRing
) -> None:
    await enqueue(database, key_ring)
    (taken,) = await claim(database, key_ring, lease=-1)
    async with database.transaction() as transaction:
        await postpone_revocation(transaction, taken.id, 100)
    assert await claim(database, key_ring) == []
    assert await count(database) == 1
    async with database.transaction() as transaction:
        await delete_revocation(transaction, taken.id)
    assert await count(database) == 0


async def test_a_revocation_that_cannot_be_decrypted_does_not_block_the_others(
    database: Database, key_ring: KeyRing
) -> None:
    await enqueue(database, KeyRing({"lost": bytes(32)}))
    await enqueue(database, key_ring)
    assert [revocation.token.get_secret_value() for revocation in await claim(database, key_ring)] == ["refresh"]
