"""`broker keys`: the API keys of callers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.database import OPERATOR
from app.cli.output import AsJson, plain, show, show_all
from app.cli.registry import CallerReference, TenantFilter, with_registry


def create(
    caller: CallerReference,
    tenant: TenantFilter = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create another key for a caller, and print it once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    record, api_key = with_registry(
        lambda registry: registry.create_key(caller, tenant=tenant, expires_at=expires_at, actor=OPERATOR)
    )
    show({**plain(record), "api_key": api_key.get_secret_value()}, as_json=as_json)


def list_keys(caller: CallerReference, tenant: TenantFilter = None, as_json: AsJson = False) -> None:
    """List a caller's keys, without their secrets."""
    page = with_registry(lambda registry: registry.list_keys(caller, tenant=tenant))
    show_all([plain(key) for key in page.items], as_json=as_json)


def revoke(
    caller: CallerReference,
    key: Annotated[str, typer.Argument(help="The key's id.")],
    tenant: TenantFilter = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: every replica refuses it from now on."""
    revoked = with_registry(lambda registry: registry.revoke_key(caller, key, tenant=tenant, actor=OPERATOR))
    if as_json:
        show(plain(revoked), as_json=True)
    else:
        typer.echo(f"revoked {key} of a caller of the tenant {revoked.tenant}")
