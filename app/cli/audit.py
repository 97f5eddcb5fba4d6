"""`broker audit`: does it still say what was written?"""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.access import with_database
from app.cli.output import AsJson, show
from app.store.audit_chain import Chain, Head, verify

group = typer.Typer(no_args_is_help=True, help="Who did what, and whether it still says so.")
Expect = Annotated[
    list[str] | None,
    typer.Option(metavar="TENANT:POSITION:HASH", help="A head printed before and noted elsewhere. Repeatable."),
]


@group.callback()
def _group() -> None:
    """Keep `verify` a command of its own beside those to come."""


@group.command("verify")
def verify_chains(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    expect: Expect = None,
    as_json: AsJson = False,
) -> None:
    """Follow the chain of hashes: exit 0 where nothing was changed or removed, and 1 where something was.

    Whoever may do everything in the database can make a new chain: note the heads elsewhere, and give them as --expect.
    """
    noted = [Head.parse(value) for value in expect or ()]
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} entries verified"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        task = progress.add_task("", total=None)
        chains = with_database(
            lambda database: verify(
                database, tenant=tenant, noted=noted, tell=lambda count: progress.advance(task, count)
            )
        )
    intact = all(chain.fault is None for chain in chains)
    if as_json:
        show({"intact": intact, "chains": [_plain(chain) for chain in chains]}, as_json=True)
    else:
        typer.echo("\n".join(_line(chain) for chain in chains) or "there is no audit yet")
    if not intact:
        raise typer.Exit(1)


def _plain(chain: Chain) -> dict[str, object]:
    head = chain.intact
    return {
        "tenant": head.tenant,
        "events": head.position,
        "head": str(head),
        "removed": chain.removed,
        "fault": chain.fault,
        "fault_position": chain.fault_position,
    }


def _line(chain: Chain) -> str:
    if chain.fault is not None:
        return f"{chain.intact.tenant}: BROKEN at position {chain.fault_position}: {chain.fault}"
    removed = f", the first {chain.removed} removed for their age" if chain.removed else ""
    return f"{chain.intact.tenant}: intact, {chain.intact.position} events{removed}, head {chain.intact}"
