"""`broker callers`: the internal services that may call the broker."""

from typing import Annotated

import typer

from app.callers.permissions import Permission
from app.callers.registry import DEFAULT_TENANT
from app.cli.database import OPERATOR
from app.cli.output import AsJson, plain, show, show_all
from app.cli.registry import CallerReference, TenantFilter, with_registry

_FIELDS = ("id", "name", "tenant", "permissions")


def create(
    name: Annotated[str, typer.Argument(help="The caller's name; unique within its tenant.")],
    permission: Annotated[
        list[str], typer.Option(help=f"Repeatable. One of {', '.join(Permission)}.", show_default=False)
    ],
    tenant: Annotated[str, typer.Option(help="The tenant whose data it can use.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Create a caller, and print its first API key once."""
    caller, api_key = with_registry(
        lambda registry: registry.create(tenant=tenant, name=name, permissions=permission, actor=OPERATOR)
    )
    show({**plain(caller, *_FIELDS), "api_key": api_key.get_secret_value()}, as_json=as_json)


def list_callers(tenant: TenantFilter = None, as_json: AsJson = False) -> None:
    """List the callers."""
    page = with_registry(lambda registry: registry.list_callers(tenant=tenant))
    ordered = sorted(page.items, key=lambda caller: (caller.tenant, caller.name))
    show_all([plain(caller) for caller in ordered], as_json=as_json)


def disable(caller: CallerReference, tenant: TenantFilter = None, as_json: AsJson = False) -> None:
    """Disable a caller: all its keys are refused from now on."""
    disabled = with_registry(lambda registry: registry.disable(caller, tenant=tenant, actor=OPERATOR))
    show(plain(disabled), as_json=as_json)
