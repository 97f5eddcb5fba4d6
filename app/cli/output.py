"""How commands print: a table for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.encryption import Ciphertext

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def plain(record: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401 - any of the store's records
    """Return a record's fields, or only `names`, without what is sealed."""
    values = {name: value for name, value in asdict(record).items() if not isinstance(value, (Ciphertext, dict))}
    return {name: values[name] for name in names} if names else values


def show(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record."""
    if as_json:
        typer.echo(json.dumps(record, default=_text))
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def show_all(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print several records."""
    if as_json:
        typer.echo(json.dumps(list(records), default=_text))
        return
    if not records:
        typer.echo("none")
        return
    table = Table(*records[0], box=None, pad_edge=False)
    for record in records:
        table.add_row(*(_text(value) for value in record.values()))
    Console(soft_wrap=True).print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(str(item) for item in value)
    return str(value)
