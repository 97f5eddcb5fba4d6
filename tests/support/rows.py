"""Creates, reads and changes rows directly, without the services."""

from typing import Any

from pydantic import SecretStr
from sqlalchemy import Table, func, select, text, update

from app.base.bank_client import BankClient
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
from tests.support.eventually import eventually

TENANT = "default"
# For tests in which nothing is sent to a bank.
CLIENT = BankClient("https://issuer.example", "client")


class Rows:
    """Works on one database, without the services."""

    def __init__(self, database: Database, key_ring: KeyRing, client: BankClient = CLIENT) -> None:
        """The connections that it inserts belong to `client`."""
        self.database = database
        self._client = client
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
        proof_key: SecretStr | None = None,
    ) -> Connection:
        """Insert an active connection with tokens that the bank has issued. Its access token expires in `seconds_left`.

        With `proof_key`, its refreshes send proofs, as those of a connection that was linked with DPoP.
        """
        parameters = {"sub": await bank.sub_of(username), "scope": scope}
        grant = (await bank.control("grants", **parameters)).json()["grants"][0]
        refresh_token = grant.get("refresh_token")
        tokens = TokenSet(
            SecretStr(grant["access_token"]), SecretStr(refresh_token) if refresh_token else None, proof_key
        )
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
        """Insert an active connection. Unless `tokens` are given, no bank has issued its tokens."""
        tokens = tokens or TokenSet(SecretStr("an access token"), SecretStr("a refresh token"))
        connection_id = new_id("con")
        async with self.database.transaction() as transaction:
            await insert_connection(
                transaction,
                NewConnection(
                    id=connection_id,
                    tenant=tenant,
                    issuer=self._client.issuer,
                    client_id=self._client.client_id,
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
        return (await self.stored(connection_id)).connection

    async def stored(self, connection_id: str, tenant: str | None = None) -> ConnectionWithTokens:
        """Return a connection with its tokens. Without `tenant`, its tenant is looked up."""
        async with self.database.transaction() as transaction:
            if tenant is None:
                query = select(connections.c.tenant).where(connections.c.id == connection_id)
                tenant = str((await transaction.execute(query)).scalar_one())
            connection = await get_connection_with_tokens(transaction, self._key_ring, tenant, connection_id)
        assert connection is not None
        return connection

    async def attempts(self, connection_id: str) -> list[tuple[int, str | None]]:
        """Return the version and outcome of each refresh of a connection, oldest first."""
        query = (
            select(refresh_attempts.c.version, refresh_attempts.c.outcome)
            .where(refresh_attempts.c.connection_id == connection_id)
            .order_by(refresh_attempts.c.fence)
        )
        async with self.database.transaction() as transaction:
            return [(row.version, row.outcome) for row in await transaction.execute(query)]

    async def count(self, table: Table) -> int:
        """Count the rows of a table."""
        async with self.database.transaction() as transaction:
            return int((await transaction.execute(select(func.count()).select_from(table))).scalar_one())

    async def column(self, table: Table, name: str) -> list[Any]:
        """Return one column of every row."""
        async with self.database.transaction() as transaction:
            return list((await transaction.execute(select(table.c[name]))).scalars())

    async def change_connection(self, connection_id: str, **values: object) -> None:
        """Update a connection without a notification."""
        await self._write(connections, connection_id, values)

    async def change_session(self, session_id: str, **values: object) -> None:
        """Update a session without a notification."""
        await self._write(sessions, session_id, values)

    async def expire_access_token(self, connection_id: str) -> None:
        """Make the access token expire."""
        await self.change_connection(connection_id, access_token_expires_at=seconds_from_now(-1))

    async def allow_another_refresh(self, connection_id: str) -> None:
        """End the lease of a refresh, and the pause after a failure."""
        await self.change_connection(connection_id, lease_until=None, retry_at=None)

    async def delete_all_connections(self) -> None:
        """Delete every connection and everything that refers to it, and end every storm of `invalid_grant`."""
        async with self.database.transaction() as transaction:
            await transaction.execute(text("TRUNCATE connections, bank_clients CASCADE"))

    async def wait_until_blocked(self, statements: int = 1) -> None:
        """Wait until this many statements wait for a lock in this database."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

        async def are_blocked() -> bool:
            async with self.database.transaction() as transaction:
                return bool((await transaction.execute(query)).scalar_one() >= statements)

        await eventually(are_blocked)

    async def _write(self, table: Table, identity: str, values: dict[str, object]) -> None:
        async with self.database.transaction() as transaction:
            await transaction.execute(update(table).where(table.c.id == identity).values(**values))


async def now_at(transaction: Transaction) -> Any:
    """Return the time of the database's running clock."""
    return (await transaction.execute(select(func.clock_timestamp()))).scalar_one()
