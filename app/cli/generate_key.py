"""`broker encryption generate`, which needs no database."""

from typing import Annotated

import typer

from app.base.clock import SystemClock
from app.base.encryption import check_key_id, generate_key
from app.cli.output import AsJson, show


def generate(
    key_id: Annotated[str | None, typer.Option("--id", help="The key's id; by default the date.")] = None,
    as_json: AsJson = False,
) -> None:
    """Generate a key for BROKER_ENCRYPTION_KEYS."""
    name = SystemClock().now().strftime("k%Y%m%d") if key_id is None else key_id
    check_key_id(name)
    entry = f"{name}:{generate_key().get_secret_value()}"
    if as_json:
        show({"id": name, "entry": entry}, as_json=True)
    else:
        typer.echo(entry)
