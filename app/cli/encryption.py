"""`broker encryption`: the keys that the database is encrypted with."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from app.base.clock import SystemClock
from app.base.encryption import check_key_id, generate_key
from app.cli.access import with_database, with_key_ring
from app.cli.output import AsJson, show, show_all
from app.settings import load_key_ring
from app.store.encryption_keys import count_by_key, keys_in_use
from app.store.rewrap import rewrap_all

# Reading every ciphertext there is may take long. Seconds.
_LONG = 3_600.0
group = typer.Typer(no_args_is_help=True, help="The keys that the database is encrypted with.")


@group.command()
def generate(
    key_id: Annotated[str | None, typer.Option("--id", help="The key's name; by default the date.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, as an entry of BROKER_ENCRYPTION_KEYS."""
    name = SystemClock().now().strftime("k%Y%m%d") if key_id is None else key_id
    check_key_id(name)
    entry = f"{name}:{generate_key().get_secret_value()}"
    if as_json:
        show({"id": name, "entry": entry}, as_json=True)
    else:
        typer.echo(entry)


@group.command()
def status(as_json: AsJson = False) -> None:
    """Count what each key has encrypted: exit 1 where a key that is in use is not in the ring."""
    ring = load_key_ring().key_ids
    counts = with_database(count_by_key, statement_timeout=_LONG)
    names = [*ring, *sorted(set(counts) - set(ring))]
    show_all(
        [
            {
                "id": name,
                "role": "encrypts" if name == ring[0] else "decrypts" if name in ring else "MISSING",
                "values": counts.get(name, 0),
            }
            for name in names
        ],
        as_json=as_json,
    )
    if missing := sorted(set(counts) - set(ring)):
        typer.echo(f"broker: {missing[0]!r} is in use and not in BROKER_ENCRYPTION_KEYS; put it back", err=True)
        raise typer.Exit(1)


@group.command()
def rewrap(as_json: AsJson = False) -> None:
    """Encrypt with the first key whatever others have encrypted. May be interrupted, and goes on where it was."""
    counts = with_database(count_by_key, statement_timeout=_LONG)
    primary = load_key_ring().primary
    progress = Progress(
        TextColumn("{task.completed:,.0f} rows sealed anew, {task.fields[values]:,.0f} values to begin with"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        task = progress.add_task("", total=None, values=sum(counts.values()) - counts.get(primary, 0))
        sealed = with_key_ring(
            lambda database, ring: rewrap_all(database, ring, tell=lambda rows: progress.advance(task, rows)),
            statement_timeout=_LONG,
        )
    left = sorted(with_database(keys_in_use) - {primary})
    if as_json:
        show({"sealed_anew": sealed, "still_in_use": left}, as_json=True)
    else:
        typer.echo(f"{sealed} rows were sealed anew")
    if left:
        typer.echo(
            f"broker: {left[0]!r} is still in use: a running replica begins with it. Have all begin with {primary!r}, "
            "and rewrap again",
            err=True,
        )
        raise typer.Exit(1)
