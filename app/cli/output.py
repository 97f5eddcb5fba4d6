"""How commands print: a table for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from app.base.encryption import Ciphertext

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
    names = list(records[0])
    rows = [names, *([_text(value) for value in record.values()] for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    for row in rows:
        typer.echo("  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(_printable(str(item)) for item in value)
    return _printable(str(value))


def _printable(text: str) -> str:
    """Escape what would steer a terminal or look like another row: callers of other tenants choose their names."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
