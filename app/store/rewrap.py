"""Encrypting anew, with the first key of the ring, what other keys have encrypted."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Column, Table, or_, select, update

from app.base.encryption import AssociatedData, KeyRing
from app.store.encryption_keys import encrypted_columns, encryption_key_id
from app.store.postgresql.database import Database
from app.store.tables import tokens

_BATCH = 200


@dataclass(frozen=True, slots=True)
class _Place:
    """A table with ciphertexts, and the columns among them."""

    table: Table
    columns: tuple[str, ...]

    @property
    def identity(self) -> Column[str]:
        """What a row is known by."""
        (identity,) = self.table.primary_key.columns
        return identity


async def rewrap_all(database: Database, key_ring: KeyRing, *, tell: Callable[[int], None] = lambda _rows: None) -> int:
    """Seal anew row by row, in short transactions, and return the number of rows. `tell` hears of each batch's size.

    Rows that somebody works on are waited for; what was done stays done when this is interrupted. What a replica seals
    with another key meanwhile may be missed: `app.store.encryption_keys.keys_in_use` tells afterwards. Raises DecryptionError
    where a key is missing.
    """
    by_table: dict[Table, list[str]] = {}
    for column in encrypted_columns():
        assert isinstance(column.table, Table)
        by_table.setdefault(column.table, []).append(column.name)
    total = 0
    for table, columns in by_table.items():
        place, after = _Place(table, tuple(columns)), ""
        while rows := await _rewrap_some(database, key_ring, place, after):
            total, after = total + len(rows), rows[-1]
            tell(len(rows))
    return total


async def _rewrap_some(database: Database, key_ring: KeyRing, place: _Place, after: str) -> list[str]:
    """Seal the next rows anew, in the order of their names, so that each is looked at once. Returns the names."""
    table, identity = place.table, place.identity
    foreign = or_(*(encryption_key_id(table.c[name]) != key_ring.primary_key_id for name in place.columns))
    query = select(table).where(foreign, identity > after).order_by(identity).limit(_BATCH).with_for_update()
    async with database.transaction() as transaction:
        rows = (await transaction.execute(query)).all()
        for row in rows:
            values = row._mapping
            row_id = values[identity.name]
            version = values["version"] if table is tokens else 0
            sealed = {}
            for name in place.columns:
                if values[name] is not None:
                    binding = AssociatedData(table.name, name, row_id, version)
                    sealed[name] = key_ring.encrypt(key_ring.decrypt(values[name], binding), binding)
            await transaction.execute(update(table).where(identity == row_id).values(**sealed))
    return [row._mapping[identity.name] for row in rows]
