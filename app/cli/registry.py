"""What the commands about callers and about their keys share."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from app.callers.registry import CallerRegistry
from app.cli.database import with_key_ring

Result = TypeVar("Result")
CallerReference = Annotated[
    str, typer.Argument(help="The caller's id or name; if tenants share the name, use --tenant.")
]
TenantFilter = Annotated[str | None, typer.Option(help="Only of this tenant.")]


def with_registry(work: Callable[[CallerRegistry], Awaitable[Result]]) -> Result:
    """Run `work` on the callers of the database."""
    return with_key_ring(lambda database, key_ring: work(CallerRegistry(database, key_ring)))
