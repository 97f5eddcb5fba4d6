"""Encrypting anew, with the first key of the ring, what other keys have encrypted."""

from dataclasses import dataclass

from sqlalchemy import Table, Text, func, or_, select, type_coerce, update

from app.encryption import Binding, KeyRing
from app.store.database import Database
from app.store.sealed import sealed_columns
from app.store.tables import tokens

_BATCH = 200


@dataclass(frozen=True, slots=True)
class _Place:
    """A table with ciphertexts, and the columns among them."""

    table: Table
    columns: tuple[str, ...]


async def rewrap_all(database: Database, key_ring: KeyRing) -> int:
    """Seal anew row by row, in short transactions, and return the number of rows.

    Rows that somebody works on are waited for; what was done stays done when this is interrupted. Raises
    DecryptionError where a key is missing.
    """
    by_table: dict[Table, list[str]] = {}
    for column in sealed_columns():
        assert isinstance(column.table, Table)
        by_table.setdefault(column.table, []).append(column.name)
    total = 0
    for table, columns in by_table.items():
        while count := await _rewrap_some(database, key_ring, _Place(table, tuple(columns))):
            total += count
    return total


async def _rewrap_some(database: Database, key_ring: KeyRing, place: _Place) -> int:
    table = place.table
    (identity,) = table.primary_key.columns
    foreign = or_(
        *(func.split_part(type_coerce(table.c[name], Text), ".", 2) != key_ring.primary for name in place.columns)
    )
    async with database.transaction() as transaction:
        rows = (await transaction.execute(select(table).where(foreign).limit(_BATCH).with_for_update())).all()
        for row in rows:
            values = row._mapping
            row_id = values[identity.name]
            version = values["version"] if table is tokens else 0
            sealed = {}
            for name in place.columns:
                if values[name] is not None:
                    binding = Binding(table.name, name, row_id, version)
                    sealed[name] = key_ring.encrypt(key_ring.decrypt(values[name], binding), binding)
            await transaction.execute(update(table).where(identity == row_id).values(**sealed))
    return len(rows)
