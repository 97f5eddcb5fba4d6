"""`broker serve`, `broker migrate`, `broker openapi`, `broker demo`."""

import contextlib
import json
from typing import Annotated

import typer
import uvicorn

from app.cli.access import with_database
from app.cli.output import AsJson, show
from app.demo.command import run_demo
from app.errors import ConfigurationError, DatabaseUnavailable
from app.main import create_api
from app.runtime import ANSWER_SECONDS, require_schema
from app.settings import load_settings
from app.store import migrate as migrations


def add_to(command: typer.Typer) -> None:
    """Put these beside the groups."""
    for function in (serve, migrate, openapi, demo):
        command.command()(function)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Serve until told to stop; then end what is under way."""
    # Read here as well, so that what is wrong is told once and not by every worker.
    settings = load_settings()
    if workers > 1:
        if settings.metrics_port is not None:
            raise ConfigurationError("BROKER_METRICS_PORT is for one worker; run more replicas instead of --workers")
        with contextlib.suppress(DatabaseUnavailable):
            with_database(require_schema)
    uvicorn.run(
        "app.main:application",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(ANSWER_SECONDS),
    )


def migrate(as_json: AsJson = False) -> None:
    """Bring the database's schema up to date. Several at once do no harm."""
    before, after = with_database(migrations.migrate)
    if as_json:
        show({"before": before, "after": after}, as_json=True)
    elif before == after:
        typer.echo(f"the schema is up to date ({after})")
    else:
        typer.echo(f"migrated from {before or 'nothing'} to {after}")


def openapi() -> None:
    """Print the OpenAPI document."""
    typer.echo(json.dumps(create_api().openapi(), indent=2))


def demo(
    *,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Walk no journey; leave it all running, to be tried.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The broker's port, or else a free one.")] = 8000,
) -> None:
    """Show the whole journey on this machine, with a database and a sandbox bank of its own. Needs no settings."""
    raise typer.Exit(run_demo(keep_running=keep_running, port=port))
