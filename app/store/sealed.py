"""Everything in the database that is encrypted."""

from collections import Counter

from sqlalchemy import Column, Text, func, select, type_coerce

from app.store.database import Database
from app.store.tables import Sealed, metadata


def sealed_columns() -> list[Column[object]]:
    """Return every column that holds ciphertexts."""
    return [column for table in metadata.sorted_tables for column in table.columns if isinstance(column.type, Sealed)]


async def count_by_key(database: Database) -> dict[str, int]:
    """Count the values that each key has encrypted, by the key's id."""
    counts: Counter[str] = Counter()
    async with database.transaction() as transaction:
        for column in sealed_columns():
            key_id = func.split_part(type_coerce(column, Text), ".", 2)
            query = select(key_id, func.count()).where(column.is_not(None)).group_by(key_id)
            for name, count in await transaction.execute(query):
                counts[name] += count
    return dict(counts)
