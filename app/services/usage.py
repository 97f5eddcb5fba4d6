"""What was used when, gathered in memory and written now and then: a query must not cost a write."""

from app.store.callers import record_key_use
from app.store.connections import record_use
from app.store.database import Database


class Usage:
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
        """Write what was gathered. Raises DatabaseUnavailable; what could not be written is gathered again."""
        connections, self._connections = self._connections, set()
        keys, self._keys = self._keys, set()
        if not connections and not keys:
            return
        try:
            async with database.transaction() as transaction:
                if connections:
                    await record_use(transaction, sorted(connections))
                if keys:
                    await record_key_use(transaction, sorted(keys))
        except BaseException:
            self._connections |= connections
            self._keys |= keys
            raise
