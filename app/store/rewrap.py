"""Re-encrypts with the primary key what was encrypted with other keys."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Column, Table, or_, select, update

from app.base.encryption import AssociatedData, KeyRing
from app.store.encryption_keys import encrypted_columns, encryption_key_id
from app.store.postgresql.database import Database
from app.store.tables import tokens

_ROWS_PER_TRANSACTION = 200


@dataclass(frozen=True, slots=True)
class _EncryptedTable:
    """A table with encrypted columns, and their names."""

    table: Table
    columns: tuple[str, ...]

    @property
    def id_column(self) -> Column[str]:
        """The primary key, which is a single column."""
        (column,) = self.table.primary_key.columns
        return column


async def rewrap_all(
    database: Database, key_ring: KeyRing, *, on_batch: Callable[[int], None] = lambda _rows: None
) -> int:
    """Re-encrypt all rows in short transactions, and return their number. `on_batch` is called with each batch's size.

    Waits for locked rows. It can be interrupted and run again. Values that a replica encrypts with another key
    meanwhile may be missed, which `app.store.encryption_keys.keys_in_use` shows. Raises DecryptionError if a key is
    missing.
    """
    by_table: dict[Table, list[str]] = {}
    for column in encrypted_columns():
        assert isinstance(column.table, Table)
        by_table.setdefault(column.table, []).append(column.name)
    total = 0
    for table, columns in by_table.items():
        encrypted_table, after = _EncryptedTable(table, tuple(columns)), ""
        while rows := await _rewrap_batch(database, key_ring, encrypted_table, after):
            total, after = total + len(rows), rows[-1]
            on_batch(len(rows))
    return total


async def _rewrap_batch(
    database: Database, key_ring: KeyRing, encrypted_table: _EncryptedTable, after: str
) -> list[str]:
    """Re-encrypt the next rows after the id `after`, ordered by id, so that each is visited once. Return their ids."""
    table, id_column = encrypted_table.table, encrypted_table.id_column
    needs_rewrap = or_(
        *(encryption_key_id(table.c[name]) != key_ring.primary_key_id for name in encrypted_table.columns)
    )
    query = (
        select(table)
        .where(needs_rewrap, id_column > after)
        .order_by(id_column)
        .limit(_ROWS_PER_TRANSACTION)
        .with_for_update()
    )
    async with database.transaction() as transaction:
        rows = (await transaction.execute(query)).all()
        for row in rows:
            values = row._mapping
            row_id = values[id_column.name]
            version = values["version"] if table is tokens else 0
            reencrypted = {}
            for name in encrypted_table.columns:
                if values[name] is not None:
                    associated_data = AssociatedData(table.name, name, row_id, version)
                    reencrypted[name] = key_ring.encrypt(
                        key_ring.decrypt(values[name], associated_data), associated_data
                    )
            await transaction.execute(update(table).where(id_column == row_id).values(**reencrypted))
    return [row._mapping[id_column.name] for row in rows]
