"""`broker sessions`: attempts to link an account, of any tenant, without their secrets."""

from typing import Annotated

import typer

from app.callers.registry import DEFAULT_TENANT
from app.cli.database import with_database
from app.cli.output import AsJson, plain, show
from app.errors import NotFound
from app.store.postgresql.database import Database
from app.store.sessions import Session, get_session

_FIELDS = (
    *("id", "status", "user_id", "caller_id", "scopes", "connection_id", "renews_connection_id"),
    *("error_code", "error_detail", "return_url", "created_at", "expires_at", "ended_at"),
)


def show_session(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    tenant: Annotated[str, typer.Option(help="The tenant that it belongs to.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Show a session, without its secrets."""

    async def read(database: Database) -> Session | None:
        async with database.transaction() as transaction:
            return await get_session(transaction, session, tenant=tenant)

    found = with_database(read)
    if found is None:
        raise NotFound(f"the tenant {tenant} has no session {session}")
    show(plain(found, *_FIELDS), as_json=as_json)
