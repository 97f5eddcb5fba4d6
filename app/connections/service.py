"""Reads connections for callers, and returns their access tokens."""

from app.callers.admission import Admission
from app.core import Core
from app.errors import Conflict, ConnectionNotFound
from app.refresh.connection_cache import UsableToken
from app.refresh.tokens import AccessTokens
from app.store import audit
from app.store.connections import Connection, get_connection, list_connections
from app.store.enums import ConnectionStatus
from app.store.postgresql.pagination import Page


class ConnectionService:
    """Reads the connections of a tenant, and returns their tokens to callers."""

    def __init__(self, core: Core, *, tokens: AccessTokens) -> None:
        self._database = core.database
        self._tokens = tokens

    async def access_token(self, caller: Admission, connection_id: str, *, min_ttl: float) -> UsableToken:
        """Return a token for the caller's own use, and record that in the audit log.

        Raises the errors of `AccessTokens.get`, and Conflict if the token is bound to a key of the broker.
        """
        token = await self._tokens.get(caller.tenant, connection_id, min_ttl=min_ttl)
        if token.proof_key is not None:
            raise Conflict(
                "the bank has bound the token to a key of the broker; send queries through the broker",
                code="token_bound",
            )
        async with self._database.transaction(caller) as transaction:
            await audit.record(
                transaction,
                "token.handed_out",
                tenant=caller.tenant,
                actor=caller.id,
                connection_id=connection_id,
                version=token.version,
            )
        return token

    async def get(self, caller: Admission, connection_id: str) -> Connection:
        """Return a connection. Raises ConnectionNotFound."""
        async with self._database.transaction(caller) as transaction:
            connection = await get_connection(transaction, caller.tenant, connection_id)
        if connection is None:
            raise ConnectionNotFound
        return connection

    async def page(
        self, caller: Admission, *, user_id: str | None, status: ConnectionStatus | None, limit: int, cursor: str | None
    ) -> Page[Connection]:
        """Return a tenant's connections, newest first."""
        async with self._database.transaction(caller) as transaction:
            return await list_connections(
                transaction, caller.tenant, user_id=user_id, status=status, limit=limit, cursor=cursor
            )
