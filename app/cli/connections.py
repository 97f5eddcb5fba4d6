"""`broker connections`: linked accounts, of any tenant, without their tokens."""

from typing import Annotated

import typer

from app.base.encryption import KeyRing
from app.callers.registry import DEFAULT_TENANT
from app.cli.database import OPERATOR, with_database, with_key_ring
from app.cli.output import AsJson, plain, show, show_all
from app.connections.revoke import revoke_connection
from app.errors import NotFound
from app.store.connections import Connection, list_connections, lock_connection
from app.store.postgresql.database import Database

Tenant = Annotated[str, typer.Option(help="The tenant that it belongs to.")]
ConnectionId = Annotated[str, typer.Argument(help="The connection's id.")]


def list_newest(
    tenant: Tenant = DEFAULT_TENANT,
    user_id: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List connections, newest first."""

    async def read(database: Database) -> list[Connection]:
        async with database.transaction() as transaction:
            page = await list_connections(transaction, tenant, user_id=user_id, status=None, limit=limit, cursor=None)
        return page.items

    fields = ("id", "status", "user_id", "version", "access_token_expires_at", "last_used_at")
    show_all([plain(connection, *fields) for connection in with_database(read)], as_json=as_json)


def show_connection(connection: ConnectionId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Show a connection, without its tokens."""

    async def read(database: Database) -> Connection:
        async with database.transaction() as transaction:
            return _require(await lock_connection(transaction, tenant, connection))

    show(plain(with_database(read)), as_json=as_json)


def revoke(connection: ConnectionId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Revoke a connection.

    It can no longer be used, and its tokens are erased. A running broker then revokes them at the bank.
    """

    async def end(database: Database, key_ring: KeyRing) -> Connection:
        async with database.transaction() as transaction:
            before = _require(await lock_connection(transaction, tenant, connection))
            await revoke_connection(transaction, key_ring, before, actor=OPERATOR, reason="revoked_by_operator")
            return _require(await lock_connection(transaction, tenant, connection))

    revoked = with_key_ring(end)
    if as_json:
        show(plain(revoked), as_json=True)
    else:
        typer.echo(f"revoked {connection}")


def _require(connection: Connection | None) -> Connection:
    if connection is None:
        raise NotFound("there is no such connection in this tenant; name another with --tenant")
    return connection
