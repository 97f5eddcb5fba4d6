"""`broker encryption`: the keys that the database is encrypted with."""

from typing import Annotated

import typer

from app.cli.access import with_database, with_key_ring
from app.cli.output import AsJson, show, show_all
from app.clock import SystemClock
from app.encryption import check_key_id, generate_key
from app.settings import load_key_ring
from app.store.rewrap import rewrap_all
from app.store.sealed import count_by_key

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
    """Count what each key has encrypted. A key that is in use must stay in the ring."""
    ring = load_key_ring().key_ids
    counts = with_database(count_by_key)
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


@group.command()
def rewrap(as_json: AsJson = False) -> None:
    """Encrypt with the first key whatever others have encrypted. May be interrupted, and goes on where it was."""
    sealed = with_key_ring(rewrap_all)
    if as_json:
        show({"sealed_anew": sealed}, as_json=True)
    else:
        typer.echo(f"{sealed} rows were sealed anew")
