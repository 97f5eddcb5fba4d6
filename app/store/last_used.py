"""Collects in memory which connections and keys were used, so that a query does not cost a write."""

from collections.abc import Awaitable, Callable

from app.store.callers import record_key_use
from app.store.connections import record_use
from app.store.postgresql.database import Database, Transaction

_ROWS_PER_TRANSACTION = 1_000


class LastUsedTimes:
    """Collects uses until `flush` writes them."""

    def __init__(self) -> None:
        self._connections: set[str] = set()
        self._keys: set[str] = set()

    def connection_used(self, connection_id: str) -> None:
        """Note that a connection was used for a query, or its token handed out."""
        self._connections.add(connection_id)

    def key_used(self, key_id: str) -> None:
        """Note that an API key was accepted."""
        self._keys.add(key_id)

    async def flush(self, database: Database) -> None:
        """Write the collected uses. Raises DatabaseUnavailable, and then keeps what was not written."""
        await _write(database, record_use, self._connections)
        await _write(database, record_key_use, self._keys)


async def _write(
    database: Database, record: Callable[[Transaction, list[str]], Awaitable[None]], used: set[str]
) -> None:
    """Write in short transactions, so that refreshes do not wait long for their rows, and remove what was written."""
    ids = sorted(used)
    for start in range(0, len(ids), _ROWS_PER_TRANSACTION):
        batch = ids[start : start + _ROWS_PER_TRANSACTION]
        async with database.transaction() as transaction:
            await record(transaction, batch)
        used.difference_update(batch)
