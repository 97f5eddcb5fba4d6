"""What was used when, gathered in memory and written now and then: a query must not cost a write."""

from collections.abc import Awaitable, Callable

from app.store.callers import record_key_use
from app.store.connections import record_use
from app.store.postgresql.database import Database, Transaction

_AT_ONCE = 1_000


class LastUsedTimes:
    """Gathers uses; `flush` writes them."""

    def __init__(self) -> None:
        self._connections: set[str] = set()
        self._keys: set[str] = set()

    def connection_used(self, connection_id: str) -> None:
        """Note that a connection served a query or gave a token."""
        self._connections.add(connection_id)

    def key_used(self, key_id: str) -> None:
        """Note that an API key was accepted."""
        self._keys.add(key_id)

    async def flush(self, database: Database) -> None:
        """Write what was gathered. Raises DatabaseUnavailable; what could not be written stays gathered."""
        await _write(database, record_use, self._connections)
        await _write(database, record_key_use, self._keys)


async def _write(
    database: Database, record: Callable[[Transaction, list[str]], Awaitable[None]], used: set[str]
) -> None:
    """Write in short transactions, so that no refresh waits long for its row, and take out what is written."""
    ids = sorted(used)
    for start in range(0, len(ids), _AT_ONCE):
        batch = ids[start : start + _AT_ONCE]
        async with database.transaction() as transaction:
            await record(transaction, batch)
        used.difference_update(batch)
