"""`broker connections retry`: uses the kept tokens of connections that the bank has refused."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.callers.registry import DEFAULT_TENANT
from app.cli.database import OPERATOR, with_database
from app.cli.output import AsJson, show_all
from app.cli.progress import counting
from app.errors import NotFound
from app.store import audit
from app.store.connections import Connection
from app.store.postgresql.database import Database
from app.store.refused_connections import RefusedConnections, lock_refused_connections, retry_connection

_CONNECTIONS_PER_TRANSACTION = 200


def retry(
    connections: Annotated[list[str] | None, typer.Argument(help="The connections' ids.")] = None,
    *,
    all_connections: Annotated[bool, typer.Option("--all", help="All of the tenant's refused connections.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only those with this reauthorization_reason.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only those refused at this time (UTC) or later.")] = None,
    tenant: Annotated[str, typer.Option(help="The tenant that they belong to.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Activate connections again that the bank refused in the last 7 days.

    Their tokens were kept. The next use of each connection tries one refresh: if the bank still refuses it, the
    connection ends again.
    """
    if bool(connections) == all_connections:
        raise typer.BadParameter("name connections, or use --all")
    selection = RefusedConnections(
        tenant, connections or None, reason, since.replace(tzinfo=UTC) if since is not None else None
    )

    async def work(database: Database) -> list[Connection]:
        retried: list[Connection] = []
        with counting("{count} connections") as count:
            while batch := await _retry_batch(database, selection, retried[-1].id if retried else ""):
                retried += batch
                count(len(batch))
        return retried

    retried = with_database(work)
    if missing := sorted(set(connections or ()) - {connection.id for connection in retried}):
        raise NotFound(f"no refused connection with kept tokens in this tenant: {', '.join(missing)}")
    show_all(
        [{"id": connection.id, "reason": connection.reauthorization_reason} for connection in retried],
        as_json=as_json,
    )


async def _retry_batch(database: Database, selection: RefusedConnections, after: str) -> list[Connection]:
    async with database.transaction() as transaction:
        batch = await lock_refused_connections(transaction, selection, after=after, limit=_CONNECTIONS_PER_TRANSACTION)
        for connection in batch:
            await retry_connection(transaction, connection)
            await audit.record(
                transaction,
                "connection.retried",
                of=connection,
                actor=OPERATOR,
                reason=connection.reauthorization_reason,
            )
    return batch
