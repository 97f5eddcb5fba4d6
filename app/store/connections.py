"""Connections and their tokens."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, Unpack

from pydantic import SecretStr
from sqlalchemy import and_, delete, func, insert, not_, select, update

from app.base.bank_client import BankClient
from app.base.encryption import AssociatedData, KeyRing
from app.store.enums import ConnectionStatus, EventType
from app.store.outbox import publish
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import TimeValue, seconds_until
from app.store.postgresql.notifications import connection_topic, notify
from app.store.postgresql.pagination import Page, fetch_page
from app.store.postgresql.records import columns_of, fetch_all, fetch_first, to_record, values_of
from app.store.tables import connections as table
from app.store.tables import tokens as tokens_table


@dataclass(frozen=True, slots=True)
class Connection:
    """A user's linked account at the bank."""

    id: str
    tenant: str
    user_id: str
    status: ConnectionStatus
    subject: str
    scopes: list[str]
    version: int
    refreshable: bool
    access_token_expires_at: datetime | None
    access_token_lifetime: int
    fence: int
    lease_until: datetime | None
    retry_at: datetime | None
    failures: int
    last_failure: str | None
    reauthorization_reason: str | None
    metadata: dict[str, Any]
    created_at: datetime
    last_refreshed_at: datetime | None
    last_used_at: datetime | None
    issuer: str
    client_id: str

    @property
    def bank_client(self) -> BankClient:
        """The client that the user consented to. Only this client may use the tokens."""
        return BankClient(self.issuer, self.client_id)

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"connection_id": self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConnection:
    """A connection to insert."""

    id: str
    tenant: str
    issuer: str
    client_id: str
    user_id: str
    status: ConnectionStatus
    subject: str
    scopes: list[str]
    version: int
    refreshable: bool
    access_token_expires_at: TimeValue | None
    access_token_lifetime: int
    metadata: dict[str, Any] = field(default_factory=dict)


class ConnectionChanges(TypedDict, total=False):
    """The columns of a connection that change."""

    issuer: str
    client_id: str
    status: ConnectionStatus
    subject: str
    scopes: list[str]
    version: int
    refreshable: bool
    access_token_expires_at: TimeValue | None
    access_token_lifetime: int
    fence: int
    lease_until: TimeValue | None
    retry_at: TimeValue | None
    failures: int
    last_failure: str | None
    reauthorization_reason: str | None
    metadata: dict[str, Any]
    last_refreshed_at: TimeValue
    revoked_at: TimeValue


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of one version, and the DPoP key that the access token is bound to, if it is bound."""

    access_token: SecretStr = field(repr=False)
    refresh_token: SecretStr | None = field(repr=False)
    proof_key: SecretStr | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionWithTokens:
    """A connection, its tokens, and its times as seconds from now on the database's clock."""

    connection: Connection
    tokens: TokenSet | None
    seconds_left: float
    seconds_leased: float
    seconds_until_retry: float


_CONNECTIONS = select(*columns_of(Connection, table))


async def get_connection(transaction: Transaction, tenant: str, connection_id: str) -> Connection | None:
    """Return a tenant's connection."""
    query = _CONNECTIONS.where(table.c.id == connection_id, table.c.tenant == tenant)
    return await fetch_first(transaction, query, Connection)


async def lock_connection(transaction: Transaction, tenant: str, connection_id: str) -> Connection | None:
    """Return a tenant's connection and lock its row until the transaction ends."""
    query = _CONNECTIONS.where(table.c.id == connection_id, table.c.tenant == tenant).with_for_update()
    return await fetch_first(transaction, query, Connection)


async def lock_connections_of_user(transaction: Transaction, tenant: str, user_id: str) -> list[Connection]:
    """Return and lock all of a user's connections."""
    query = _CONNECTIONS.where(table.c.tenant == tenant, table.c.user_id == user_id)
    query = query.order_by(table.c.id).with_for_update()
    return await fetch_all(transaction, query, Connection)


async def list_connections(
    transaction: Transaction,
    tenant: str,
    *,
    user_id: str | None,
    status: ConnectionStatus | None,
    limit: int,
    cursor: str | None,
) -> Page[Connection]:
    """Return a tenant's connections, newest first."""
    query = _CONNECTIONS.where(table.c.tenant == tenant)
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    if status is not None:
        query = query.where(table.c.status == status)
    return await fetch_page(transaction, query, table, Connection, limit=limit, cursor=cursor)


async def count_connections(transaction: Transaction) -> dict[ConnectionStatus, int]:
    """Count every tenant's connections by their status. Reads all of them."""
    query = select(table.c.status, func.count().label("number")).group_by(table.c.status)
    return {row.status: row.number for row in await transaction.execute(query)}


async def count_connections_of_other_clients(transaction: Transaction, own: BankClient) -> dict[BankClient, int]:
    """Count every tenant's connections that can be used only by other clients than `own`. Reads all of them."""
    is_other = not_(and_(table.c.issuer == own.issuer, table.c.client_id == own.client_id))
    query = (
        select(table.c.issuer, table.c.client_id, func.count().label("number"))
        .where(is_other, table.c.status != ConnectionStatus.REVOKED)
        .group_by(table.c.issuer, table.c.client_id)
        .order_by(table.c.issuer, table.c.client_id)
    )
    return {BankClient(row.issuer, row.client_id): row.number for row in await transaction.execute(query)}


async def get_connection_with_tokens(
    transaction: Transaction, key_ring: KeyRing, tenant: str, connection_id: str
) -> ConnectionWithTokens | None:
    """Return a tenant's connection with its tokens, in one query. Raises DecryptionError."""
    query = (
        select(
            *columns_of(Connection, table),
            tokens_table.c.access_token,
            tokens_table.c.refresh_token,
            tokens_table.c.proof_key,
            tokens_table.c.version.label("token_version"),
            seconds_until(table.c.access_token_expires_at).label("seconds_left"),
            seconds_until(table.c.lease_until).label("seconds_leased"),
            seconds_until(table.c.retry_at).label("seconds_until_retry"),
        )
        .select_from(table.outerjoin(tokens_table, tokens_table.c.connection_id == table.c.id))
        .where(table.c.id == connection_id, table.c.tenant == tenant)
    )
    row = (await transaction.execute(query)).first()
    if row is None:
        return None
    token_set = None
    if row.access_token is not None:
        access_token, refresh_token, proof_key = (
            sealed and key_ring.decrypt(sealed, _associated_data(column, connection_id, row.token_version))
            for column, sealed in (
                ("access_token", row.access_token),
                ("refresh_token", row.refresh_token),
                ("proof_key", row.proof_key),
            )
        )
        token_set = TokenSet(access_token, refresh_token, proof_key)
    connection = to_record(Connection, row)
    # A token of unknown lifetime is used until the bank rejects it.
    is_unlimited = token_set is not None and connection.access_token_expires_at is None
    return ConnectionWithTokens(
        connection,
        token_set,
        math.inf if is_unlimited else float(row.seconds_left),
        float(row.seconds_leased),
        float(row.seconds_until_retry),
    )


async def insert_connection(transaction: Transaction, connection: NewConnection) -> None:
    """Insert a connection. Its tokens are inserted by `store_tokens`."""
    await transaction.execute(insert(table).values(**values_of(connection)))


async def change_connection(transaction: Transaction, connection_id: str, **changes: Unpack[ConnectionChanges]) -> None:
    """Update columns of a connection, and notify all replicas."""
    await transaction.execute(update(table).where(table.c.id == connection_id).values(**changes))
    await notify(transaction, connection_topic(connection_id))


async def publish_connection_event(
    transaction: Transaction, event: EventType, connection: Connection, *, version: int, reason: str | None = None
) -> None:
    """Publish an event of a locked connection, which now has this `version`."""
    await publish(
        transaction,
        event,
        tenant=connection.tenant,
        user_id=connection.user_id,
        stream=connection.id,
        data={"connection_id": connection.id, "version": version, "reason": reason},
    )


async def store_tokens(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    tenant: str,
    connection_id: str,
    version: int,
    tokens: TokenSet,
) -> None:
    """Replace the connection's tokens, encrypted for this version."""
    await erase_tokens(transaction, connection_id)
    secrets = {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "proof_key": tokens.proof_key,
    }
    sealed = {
        column: None if secret is None else key_ring.encrypt(secret, _associated_data(column, connection_id, version))
        for column, secret in secrets.items()
    }
    await transaction.execute(
        insert(tokens_table).values(connection_id=connection_id, tenant=tenant, version=version, **sealed)
    )


async def erase_tokens(transaction: Transaction, connection_id: str) -> None:
    """Erase the connection's tokens."""
    await transaction.execute(delete(tokens_table).where(tokens_table.c.connection_id == connection_id))


async def record_use(transaction: Transaction, connection_ids: list[str]) -> None:
    """Set the time at which these connections were last used."""
    statement = update(table).where(table.c.id.in_(connection_ids)).values(last_used_at=func.now())
    await transaction.execute(statement)


def _associated_data(column: str, connection_id: str, version: int) -> AssociatedData:
    return AssociatedData("tokens", column, connection_id, version)
