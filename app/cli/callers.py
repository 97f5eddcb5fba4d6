"""`broker callers`: the internal services that may call."""

from typing import Annotated

import typer

from app.callers.authentication import Permission
from app.callers.registry import DEFAULT_TENANT
from app.cli.access import OPERATOR, with_registry
from app.cli.output import AsJson, plain, show, show_all

group = typer.Typer(no_args_is_help=True, help="The internal services that may call.")
_FIELDS = ("id", "name", "tenant", "permissions")
Reference = Annotated[str, typer.Argument(help="The caller's id, or its name; --tenant tells namesakes apart.")]
Tenant = Annotated[str | None, typer.Option(help="Only of this tenant.")]


@group.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it; unique within its tenant.")],
    permission: Annotated[
        list[str], typer.Option(help=f"Repeatable. One of {', '.join(Permission)}.", show_default=False)
    ],
    tenant: Annotated[str, typer.Option(help="Whose rows it sees.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Create a caller, and print its first API key: this once."""
    caller, api_key = with_registry(
        lambda registry: registry.create(tenant=tenant, name=name, permissions=permission, actor=OPERATOR)
    )
    show({**plain(caller, *_FIELDS), "api_key": api_key.get_secret_value()}, as_json=as_json)


@group.command("list")
def list_callers(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the callers."""
    found = with_registry(lambda registry: registry.list_callers(tenant=tenant))
    ordered = sorted(found.items, key=lambda caller: (caller.tenant, caller.name))
    show_all([plain(caller) for caller in ordered], as_json=as_json)


@group.command()
def disable(caller: Reference, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Refuse all of a caller's keys from now on."""
    disabled = with_registry(lambda registry: registry.disable(caller, tenant=tenant, actor=OPERATOR))
    show(plain(disabled), as_json=as_json)
