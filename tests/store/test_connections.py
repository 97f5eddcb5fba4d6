import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.errors import DecryptionError
from app.store.connections import (
    TokenSet,
    change_connection,
    erase_tokens,
    get_connection,
    get_connection_with_tokens,
    lock_connection,
    lock_connections_of_user,
    record_use,
    store_tokens,
)
from app.store.encryption_keys import count_by_key, encrypted_columns
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.tables import tokens
from tests.support.rows import TENANT, Rows

TOKENS = TokenSet(SecretStr("planted access"), SecretStr("planted refresh"))


async def test_a_connection_is_visible_to_its_tenant_only(database: Database, rows: Rows) -> None:
    connection = await rows.insert()
    async with database.transaction() as transaction:
        assert await get_connection(transaction, TENANT, connection.id) == connection
        assert await lock_connection(transaction, TENANT, connection.id) == connection
        assert await get_connection(transaction, "elsewhere", connection.id) is None
        assert await lock_connection(transaction, "elsewhere", connection.id) is None
        assert await get_connection(transaction, TENANT, "con_unknown") is None


async def test_a_users_connections_are_found(database: Database, rows: Rows) -> None:
    mine = [await rows.insert(user_id="a"), await rows.insert(user_id="a")]
    await rows.insert(user_id="b")
    await rows.insert(user_id="a", tenant="elsewhere")
    async with database.transaction() as transaction:
        found = await lock_connections_of_user(transaction, TENANT, "a")
    assert {connection.id for connection in found} == {connection.id for connection in mine}


async def test_tokens_are_encrypted_for_their_version(database: Database, rows: Rows, key_ring: KeyRing) -> None:
    connection = await rows.insert(TOKENS)
    held = await rows.stored(connection.id)
    assert held.tokens == TOKENS
    assert 890 < held.seconds_left <= 900
    assert (held.seconds_leased, held.seconds_until_retry) == (0, 0)
    for column in ("access_token", "refresh_token"):
        (sealed,) = await rows.column(tokens, column)
        assert "planted" not in sealed.text
    assert "planted" not in repr(held)
    async with database.transaction() as transaction:
        await transaction.execute(tokens.update().values(version=2))
        with pytest.raises(DecryptionError):
            await get_connection_with_tokens(transaction, key_ring, TENANT, connection.id)


async def test_tokens_can_be_replaced_and_erased(database: Database, rows: Rows, key_ring: KeyRing) -> None:
    connection = await rows.insert(TOKENS)
    access_only = TokenSet(SecretStr("another"), None)
    async with database.transaction() as transaction:
        await store_tokens(
            transaction, key_ring, tenant=TENANT, connection_id=connection.id, version=2, tokens=access_only
        )
    assert (await rows.stored(connection.id)).tokens == access_only
    assert await rows.count(tokens) == 1
    async with database.transaction() as transaction:
        await erase_tokens(transaction, connection.id)
        held = await get_connection_with_tokens(transaction, key_ring, TENANT, connection.id)
        assert held is not None
        assert held.tokens is None
        assert await get_connection_with_tokens(transaction, key_ring, TENANT, "con_unknown") is None
        assert await get_connection_with_tokens(transaction, key_ring, "elsewhere", connection.id) is None


async def test_use_and_changes_are_written(database: Database, rows: Rows) -> None:
    used, unused = await rows.insert(), await rows.insert()
    async with database.transaction() as transaction:
        await record_use(transaction, [used.id])
        await change_connection(transaction, unused.id, status=ConnectionStatus.REVOKED)
    assert (await rows.stored(used.id)).connection.last_used_at is not None
    after = (await rows.stored(unused.id)).connection
    assert (after.last_used_at, after.status) == (None, ConnectionStatus.REVOKED)


async def test_the_values_that_each_key_encrypted_are_counted(database: Database, rows: Rows) -> None:
    await rows.insert(TOKENS)
    await rows.insert(TokenSet(SecretStr("access"), None))
    assert await count_by_key(database) == {"test": 3}
    assert {f"{column.table.name}.{column.name}" for column in encrypted_columns()} >= {
        "tokens.access_token",
        "tokens.refresh_token",
        "revocations.token",
        "hashing_keys.key",
    }
