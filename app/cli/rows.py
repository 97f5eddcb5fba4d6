"""`broker connections` and `broker sessions`: a look at single rows, of any tenant, without secrets."""

from typing import Annotated

import typer

from app.base.encryption import KeyRing
from app.callers.registry import DEFAULT_TENANT
from app.cli.access import OPERATOR, with_database, with_key_ring
from app.cli.output import AsJson, plain, show, show_all
from app.connections.revoke import end_consent
from app.errors import NotFound
from app.store.connections import Connection, list_connections, lock_connection
from app.store.postgresql.database import Database
from app.store.sessions import Session, get_session

connections = typer.Typer(no_args_is_help=True, help="What was linked.")
sessions = typer.Typer(no_args_is_help=True, help="Attempts to link.")
Tenant = Annotated[str, typer.Option(help="Whose rows.")]
ConnectionId = Annotated[str, typer.Argument(help="The connection's id.")]


@connections.command("list")
def list_(
    tenant: Tenant = DEFAULT_TENANT,
    user_id: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List connections, newest first."""

    async def read(database: Database) -> list[Connection]:
        async with database.transaction() as transaction:
            page = await list_connections(transaction, tenant, user_id=user_id, status=None, limit=limit, cursor=None)
        return page.items

    fields = ("id", "status", "user_id", "version", "access_token_expires_at", "last_used_at")
    show_all([plain(one, *fields) for one in with_database(read)], as_json=as_json)


@connections.command("show")
def show_connection(connection: ConnectionId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Show a connection: status, version, lease, last failure."""

    async def read(database: Database) -> Connection:
        async with database.transaction() as transaction:
            return _found(await lock_connection(transaction, tenant, connection))

    show(plain(with_database(read)), as_json=as_json)


@connections.command()
def revoke(connection: ConnectionId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """End a connection: unusable at once; a running broker then has the bank revoke it."""

    async def end(database: Database, key_ring: KeyRing) -> Connection:
        async with database.transaction() as transaction:
            found = _found(await lock_connection(transaction, tenant, connection))
            await end_consent(transaction, key_ring, found, actor=OPERATOR, reason="revoked_by_operator")
            return _found(await lock_connection(transaction, tenant, connection))

    revoked = with_key_ring(end)
    if as_json:
        show(plain(revoked), as_json=True)
    else:
        typer.echo(f"revoked {connection}")


@sessions.command("show")
def show_session(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Show a session: where the login stands, and why it failed."""

    async def read(database: Database) -> Session | None:
        async with database.transaction() as transaction:
            return await get_session(transaction, session, tenant=tenant)

    found = with_database(read)
    if found is None:
        raise NotFound(f"the tenant {tenant} has no session {session}")
    fields = (
        *("id", "status", "user_id", "caller_id", "scopes", "connection_id", "renews_connection_id"),
        *("error_code", "error_detail", "return_url", "created_at", "expires_at", "ended_at"),
    )
    show(plain(found, *fields), as_json=as_json)


def _found(connection: Connection | None) -> Connection:
    if connection is None:
        raise NotFound("there is no such connection in this tenant; name another with --tenant")
    return connection
