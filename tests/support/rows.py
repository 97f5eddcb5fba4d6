"""Rows as a test needs them: made quickly, looked at, and put forward in time."""

from typing import Any

from pydantic import SecretStr
from sqlalchemy import Table, func, select, update

from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.store.connections import (
    Connection,
    ConnectionWithTokens,
    NewConnection,
    TokenSet,
    get_connection_with_tokens,
    insert_connection,
    store_tokens,
)
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import connections, refresh_attempts, sessions
from sandbox.client import EVERY_SCOPE, SandboxClient

TENANT = "default"


class Rows:
    """Works on one database, past the services."""

    def __init__(self, database: Database, key_ring: KeyRing) -> None:
        self._database = database
        self._key_ring = key_ring

    async def link(
        self,
        bank: SandboxClient,
        *,
        seconds_left: float = 900,
        scope: str = EVERY_SCOPE,
        user_id: str = "user-1",
        tenant: str = TENANT,
        username: str = "thandi",
    ) -> Connection:
        """Make an active connection with tokens that the bank knows. Its access token has `seconds_left`."""
        parameters = {"sub": await bank.sub_of(username), "scope": scope}
        granted = (await bank.control("grants", **parameters)).json()["grants"][0]
        refresh_token = granted.get("refresh_token")
        tokens = TokenSet(SecretStr(granted["access_token"]), SecretStr(refresh_token) if refresh_token else None)
        return await self.insert(
            tokens, seconds_left=seconds_left, scope=scope, user_id=user_id, tenant=tenant, subject=parameters["sub"]
        )

    async def insert(
        self,
        tokens: TokenSet | None = None,
        *,
        seconds_left: float = 900,
        scope: str = EVERY_SCOPE,
        user_id: str = "user-1",
        tenant: str = TENANT,
        subject: str = "somebody",
    ) -> Connection:
        """Make an active connection; its tokens, unless given, are of no bank."""
        tokens = tokens or TokenSet(SecretStr("an access token"), SecretStr("a refresh token"))
        connection_id = new_id("con")
        async with self._database.transaction() as transaction:
            await insert_connection(
                transaction,
                NewConnection(
                    id=connection_id,
                    tenant=tenant,
                    user_id=user_id,
                    status=ConnectionStatus.ACTIVE,
                    subject=subject,
                    scopes=scope.split(),
                    version=1,
                    refreshable=tokens.refresh_token is not None,
                    access_token_expires_at=seconds_from_now(seconds_left),
                    access_token_lifetime=900,
                ),
            )
            await store_tokens(
                transaction, self._key_ring, tenant=tenant, connection_id=connection_id, version=1, tokens=tokens
            )
        return (await self.held(connection_id)).connection

    async def held(self, connection_id: str) -> ConnectionWithTokens:
        """Return a connection with its tokens."""
        async with self._database.transaction() as transaction:
            of_it = select(connections.c.tenant).where(connections.c.id == connection_id)
            tenant = (await transaction.execute(of_it)).scalar_one()
            held = await get_connection_with_tokens(transaction, self._key_ring, tenant, connection_id)
        assert held is not None
        return held

    async def attempts(self, connection_id: str) -> list[tuple[int, str | None]]:
        """Return the version and outcome of each refresh of a connection, the oldest first."""
        query = (
            select(refresh_attempts.c.version, refresh_attempts.c.outcome)
            .where(refresh_attempts.c.connection_id == connection_id)
            .order_by(refresh_attempts.c.fence)
        )
        async with self._database.transaction() as transaction:
            return [(row.version, row.outcome) for row in await transaction.execute(query)]

    async def count(self, table: Table) -> int:
        """Count the rows of a table."""
        async with self._database.transaction() as transaction:
            return int((await transaction.execute(select(func.count()).select_from(table))).scalar_one())

    async def column(self, table: Table, name: str) -> list[Any]:
        """Return one column of every row."""
        async with self._database.transaction() as transaction:
            return list((await transaction.execute(select(table.c[name]))).scalars())

    async def change_connection(self, connection_id: str, **values: object) -> None:
        """Write into a connection without telling anybody."""
        await self._write(connections, connection_id, values)

    async def change_session(self, session_id: str, **values: object) -> None:
        """Write into a session without telling anybody."""
        await self._write(sessions, session_id, values)

    async def expire_access_token(self, connection_id: str) -> None:
        """Let the access token's time be over."""
        await self.change_connection(connection_id, access_token_expires_at=seconds_from_now(-1))

    async def let_refresh_be_tried_again(self, connection_id: str) -> None:
        """Let the lease and the pause after a failure be over."""
        await self.change_connection(connection_id, lease_until=None, retry_at=None)

    async def _write(self, table: Table, identity: str, values: dict[str, object]) -> None:
        async with self._database.transaction() as transaction:
            await transaction.execute(update(table).where(table.c.id == identity).values(**values))


async def now_at(transaction: Transaction) -> Any:
    """Return the time of the database's running clock."""
    return (await transaction.execute(select(func.clock_timestamp()))).scalar_one()
