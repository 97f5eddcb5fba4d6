"""`broker encryption`: the keys that the database is encrypted with."""

from typing import Annotated

import typer

from app.cli.access import with_database
from app.cli.output import AsJson, show, show_all
from app.clock import SystemClock
from app.encryption import generate_key
from app.settings import load_key_ring
from app.store.sealed import count_by_key

group = typer.Typer(no_args_is_help=True, help="The keys that the database is encrypted with.")


@group.command()
def generate(
    key_id: Annotated[str | None, typer.Option("--id", help="The key's name; by default the date.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, as an entry of BROKER_ENCRYPTION_KEYS."""
    name = key_id or SystemClock().now().strftime("k%Y%m%d")
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
