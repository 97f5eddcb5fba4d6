"""`broker encryption`: which keys the database is encrypted with, and how to change them."""

import typer

from app.cli.database import with_database, with_key_ring
from app.cli.output import AsJson, show, show_all
from app.cli.progress import counting
from app.settings import load_key_ring
from app.store.encryption_keys import count_by_key, keys_in_use
from app.store.rewrap import rewrap_all

# Reading every ciphertext of a large database may take long.
_STATEMENT_TIMEOUT = 3_600.0  # seconds


def status(as_json: AsJson = False) -> None:
    """Count the values that each key has encrypted.

    The exit status is 1 if a key is in use that BROKER_ENCRYPTION_KEYS lacks.
    """
    ring = load_key_ring().key_ids
    counts = with_database(count_by_key, statement_timeout=_STATEMENT_TIMEOUT)
    missing = sorted(set(counts) - set(ring))
    show_all(
        [
            {
                "id": name,
                "role": "encrypts" if name == ring[0] else "decrypts" if name in ring else "MISSING",
                "values": counts.get(name, 0),
            }
            for name in (*ring, *missing)
        ],
        as_json=as_json,
    )
    if missing:
        typer.echo(f"broker: {missing[0]!r} is in use and not in BROKER_ENCRYPTION_KEYS; put it back", err=True)
        raise typer.Exit(1)


def rewrap(as_json: AsJson = False) -> None:
    """Encrypt all values again, with the first key.

    It can be interrupted; the next run continues. The exit status is 1 if another key is still in use afterwards.
    """
    counts = with_database(count_by_key, statement_timeout=_STATEMENT_TIMEOUT)
    primary = load_key_ring().primary_key_id
    remaining = sum(counts.values()) - counts.get(primary, 0)
    with counting(f"{{count}} rows encrypted again, {remaining:,} values at the start") as advance:
        rewrapped = with_key_ring(
            lambda database, ring: rewrap_all(database, ring, on_batch=advance), statement_timeout=_STATEMENT_TIMEOUT
        )
    left = sorted(with_database(keys_in_use) - {primary})
    if as_json:
        show({"sealed_anew": rewrapped, "still_in_use": left}, as_json=True)
    else:
        typer.echo(f"{rewrapped} rows were encrypted again")
    if left:
        typer.echo(
            f"broker: {left[0]!r} is still in use, because a running replica encrypts with it. Put {primary!r} first "
            "on every replica, then rewrap again",
            err=True,
        )
        raise typer.Exit(1)
