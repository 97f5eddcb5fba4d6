"""Connections, as callers see them."""

from app.errors import ConnectionNotFound
from app.store.connections import Connection, ConnectionStatus, get_connection, list_connections
from app.store.database import Database
from app.store.pages import Page


class Connections:
    """Reads connections of one tenant at a time."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, connection_id: str) -> Connection:
        """Return a connection. Raises ConnectionNotFound."""
        async with self._database.transaction() as transaction:
            connection = await get_connection(transaction, tenant, connection_id)
        if connection is None:
            raise ConnectionNotFound("there is no such connection")
        return connection

    async def page(
        self, tenant: str, *, user_id: str | None, status: ConnectionStatus | None, limit: int, cursor: str | None
    ) -> Page[Connection]:
        """Return a tenant's connections, newest first."""
        async with self._database.transaction() as transaction:
            return await list_connections(
                transaction, tenant, user_id=user_id, status=status, limit=limit, cursor=cursor
            )
