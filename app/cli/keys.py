"""`broker keys`: the API keys of callers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.access import OPERATOR, with_registry
from app.cli.callers import Reference, Tenant
from app.cli.output import AsJson, plain, show, show_all

group = typer.Typer(no_args_is_help=True, help="The API keys of callers.")


@group.command()
def create(
    caller: Reference,
    tenant: Tenant = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a key beside the others, and print it: this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    record, api_key = with_registry(
        lambda registry: registry.create_key(caller, tenant=tenant, expires_at=expires_at, actor=OPERATOR)
    )
    show({**plain(record), "api_key": api_key.get_secret_value()}, as_json=as_json)


@group.command("list")
def list_keys(caller: Reference, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List a caller's keys, but for their secrets."""
    found = with_registry(lambda registry: registry.list_keys(caller, tenant=tenant))
    show_all([plain(key) for key in found.items], as_json=as_json)


@group.command()
def revoke(
    caller: Reference,
    key: Annotated[str, typer.Argument(help="The key's id.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, on every replica."""
    revoked = with_registry(lambda registry: registry.revoke_key(caller, key, tenant=tenant, actor=OPERATOR))
    if as_json:
        show(plain(revoked), as_json=True)
    else:
        typer.echo(f"revoked {key} of a caller of the tenant {revoked.tenant}")
