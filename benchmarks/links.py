"""Creates connections directly in the database, without a login."""

import asyncpg
from pydantic import SecretStr

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.store.connections import NewConnection, TokenSet, insert_connection, store_tokens
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now

_TENANT = "default"
_SCOPES = ["openid", "accounts", "balances", "transactions", "offline_access"]
_LIFETIME = 86_400
# Rows as large as real ones. Their tokens are never read.
_FILL_CONNECTIONS = (
    "INSERT INTO connections (id, tenant, issuer, client_id, user_id, status, subject, scopes, version, refreshable,"
    " access_token_expires_at, access_token_lifetime, metadata)"
    " SELECT 'con_' || substr(md5(n::text), 1, 24), 'default', 'https://issuer.example', 'client',"
    " 'user-' || n, 'active', md5(n::text), $2, 1,"
    " true, now() + interval '1 day', 86400, '{}'"
    " FROM generate_series(1, $1::int) AS n"
)
_FILL_TOKENS = (
    "INSERT INTO tokens (connection_id, tenant, version, access_token, refresh_token)"
    " SELECT id, tenant, 1, repeat(md5(id), 4), repeat(md5(id), 4) FROM connections"
    " WHERE id NOT IN (SELECT connection_id FROM tokens)"
)
_FILL_TIMEOUT = 300.0  # seconds


class Links:
    """The connections of one database."""

    def __init__(self, database: Database, key_ring: KeyRing, client: BankClient) -> None:
        self._client = client
        self._database = database
        self._key_ring = key_ring

    async def make(self, count: int) -> list[str]:
        """Create connections that queries can use, and return their ids."""
        tokens = TokenSet(SecretStr("a" * 43), SecretStr("r" * 43))
        ids = [new_id("con") for _ in range(count)]
        async with self._database.transaction() as transaction:
            for number, connection_id in enumerate(ids):
                new_connection = NewConnection(
                    id=connection_id,
                    tenant=_TENANT,
                    issuer=self._client.issuer,
                    client_id=self._client.client_id,
                    user_id=f"live-{number}",
                    status=ConnectionStatus.ACTIVE,
                    subject=f"subject-{number}",
                    scopes=_SCOPES,
                    version=1,
                    refreshable=True,
                    access_token_expires_at=seconds_from_now(_LIFETIME),
                    access_token_lifetime=_LIFETIME,
                    metadata={},
                )
                await insert_connection(transaction, new_connection)
                await store_tokens(
                    transaction, self._key_ring, tenant=_TENANT, connection_id=connection_id, version=1, tokens=tokens
                )
        return ids


async def fill(connection: asyncpg.Connection, count: int) -> None:
    """Insert `count` connections that are never used, and vacuum the database so that it does not do so later."""
    # Skips the foreign key checks, because the rows are known to be consistent.
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(_FILL_CONNECTIONS, count, _SCOPES, timeout=_FILL_TIMEOUT)
    for statement in (_FILL_TOKENS, "VACUUM ANALYZE", "CHECKPOINT"):
        await connection.execute(statement, timeout=_FILL_TIMEOUT)
