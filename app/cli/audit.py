"""`broker audit`: whether the audit log still says what was written."""

from typing import Annotated

import typer

from app.cli.database import with_database
from app.cli.output import AsJson, show
from app.cli.progress import counting
from app.store.audit_chain import Chain, Head, verify

Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TENANT:POSITION:HASH", help="A head that was printed before and noted elsewhere. Repeatable."
    ),
]


def verify_chains(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    expect: Expect = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain of hashes over the audit log.

    The exit status is 1 if an event was changed or removed. Someone with full rights in the database can rebuild the
    whole chain: to notice that, note the heads elsewhere and pass them as --expect.
    """
    noted = [Head.parse(value) for value in expect or ()]
    with counting("{count} entries verified") as advance:
        chains = with_database(lambda database: verify(database, tenant=tenant, noted=noted, on_batch=advance))
    intact = all(chain.fault is None for chain in chains)
    if as_json:
        show({"intact": intact, "chains": [_as_json(chain) for chain in chains]}, as_json=True)
    else:
        typer.echo("\n".join(_as_line(chain) for chain in chains) or "there is no audit yet")
    if not intact:
        raise typer.Exit(1)


def _as_json(chain: Chain) -> dict[str, object]:
    head = chain.intact
    return {
        "tenant": head.tenant,
        "events": head.position,
        "head": str(head),
        "removed": chain.removed,
        "fault": chain.fault,
        "fault_position": chain.fault_position,
    }


def _as_line(chain: Chain) -> str:
    if chain.fault is not None:
        return f"{chain.intact.tenant}: BROKEN at position {chain.fault_position}: {chain.fault}"
    removed = f", the first {chain.removed} removed because of their age" if chain.removed else ""
    return f"{chain.intact.tenant}: intact, {chain.intact.position} events{removed}, head {chain.intact}"
