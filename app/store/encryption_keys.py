"""The encrypted columns of the database, and the keys that their values need."""

from collections import Counter

from sqlalchemy import Column, ColumnElement, Table, Text, func, or_, select, true, type_coerce

from app.base.encryption import KeyRing
from app.errors import ConfigurationError
from app.store.enums import SessionStatus
from app.store.postgresql.columns import Encrypted
from app.store.postgresql.database import Database, Transaction
from app.store.sessions import stored_status_in
from app.store.tables import metadata, sessions, tokens


def encrypted_columns() -> list[Column[object]]:
    """Return every column that holds ciphertexts."""
    return [
        column for table in metadata.sorted_tables for column in table.columns if isinstance(column.type, Encrypted)
    ]


def encryption_key_id(column: Column[object]) -> ColumnElement[str]:
    """Return an SQL expression for the id of the key that encrypted a value."""
    return func.split_part(type_coerce(column, Text), ".", 2)


async def count_by_key(database: Database) -> dict[str, int]:
    """Count the encrypted values by the id of their key. Reads all rows."""
    counts: Counter[str] = Counter()
    async with database.transaction() as transaction:
        for column in encrypted_columns():
            key_id = encryption_key_id(column)
            query = select(key_id, func.count()).where(column.is_not(None)).group_by(key_id)
            for name, count in await transaction.execute(query):
                counts[name] += count
    return dict(counts)


async def keys_in_use(database: Database) -> set[str]:
    """Return the ids of all keys that stored values need. Uses indexes for the tables that can be large."""
    async with database.transaction() as transaction:
        found: set[str] = set()
        for column in encrypted_columns():
            if column.table is not tokens or column is tokens.c.access_token:
                found |= await _keys_of(transaction, column)
        return found


async def require_keys(database: Database, key_ring: KeyRing) -> None:
    """Raise ConfigurationError if a stored value needs a key that the ring lacks."""
    if missing := sorted(await keys_in_use(database) - set(key_ring.key_ids)):
        raise ConfigurationError(
            f"BROKER_ENCRYPTION_KEYS lacks the key {missing[0]!r}, which the database uses; add it again after "
            "the first key. `broker encryption rewrap` re-encrypts everything, and then the key can be removed"
        )


async def _keys_of(transaction: Transaction, column: Column[object]) -> set[str]:
    """Find one key id after the other, each with one index lookup, however many values there are."""
    assert isinstance(column.table, Table)
    # Ended sessions hold no secrets, and the others are few and have two indexes, one for each part of the condition.
    may_hold_secrets = (
        or_(
            stored_status_in(SessionStatus.PENDING),
            stored_status_in(SessionStatus.EXCHANGING, SessionStatus.AWAITING_CONFIRMATION),
        )
        if column.table is sessions
        else true()
    )
    key_id = encryption_key_id(column)
    found: set[str] = set()
    query = select(func.min(key_id)).where(column.is_not(None), may_hold_secrets)
    # Only the database compares ids, because its collation may order them differently from Python.
    name = (await transaction.execute(query)).scalar()
    while name is not None:
        found.add(name)
        name = (await transaction.execute(query.where(key_id > name))).scalar()
    return found
