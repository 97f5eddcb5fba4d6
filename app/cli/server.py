"""`broker serve`, `broker migrate`, `broker openapi`, `broker demo`."""

import contextlib
import json
from typing import Annotated

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.api.docs.postman import collection_of
from app.api.server.head_limit import BoundedHttpProtocol
from app.base.encryption import KeyRing
from app.cli.access import with_database, with_key_ring
from app.cli.output import AsJson, show
from app.cli.workers import serve_with_workers
from app.demo.command import run_demo
from app.errors import DatabaseUnavailable
from app.main import create_api
from app.runtime import ANSWER_SECONDS
from app.settings import load_settings
from app.store.encryption_keys import require_keys
from app.store.postgresql import migrate as migrations
from app.store.postgresql.database import Database
from app.store.postgresql.migrate import require_schema

# Longer than gateways keep an idle connection (nginx and the AWS load balancer: 60 s), or one that they are about to
# use could be closed under their hands.
_KEEP_ALIVE_SECONDS = 75

# Building an index takes minutes on a large table; waiting for a lock ends much sooner. Seconds.
_MIGRATION_TIMEOUT = 3_600.0


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
    config = uvicorn.Config(
        "app.main:application",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        ws="none",
        http=BoundedHttpProtocol,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(ANSWER_SECONDS),
        # A worker that begins on a busy machine is not hung.
        timeout_worker_healthcheck=60,
    )
    if workers > 1:
        with contextlib.suppress(DatabaseUnavailable):
            with_key_ring(_require_usable)
        serve_with_workers(config, metrics_port=settings.metrics_port)
        return
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise typer.Exit(STARTUP_FAILURE)


async def _require_usable(database: Database, key_ring: KeyRing) -> None:
    await require_schema(database)
    await require_keys(database, key_ring)


def migrate(as_json: AsJson = False) -> None:
    """Bring the database's schema up to date. Several at once do no harm."""
    before, after = with_database(migrations.migrate, statement_timeout=_MIGRATION_TIMEOUT)
    if as_json:
        show({"before": before, "after": after}, as_json=True)
    elif before == after:
        typer.echo(f"the schema is up to date ({after})")
    else:
        typer.echo(f"migrated from {before or 'nothing'} to {after}")


def openapi(
    *,
    postman: Annotated[bool, typer.Option("--postman", help="As a collection for Postman or Bruno.")] = False,
    as_json: AsJson = True,
) -> None:
    """Print the OpenAPI document, which is JSON in any case."""
    document = create_api().openapi()
    typer.echo(json.dumps(collection_of(document) if postman else document, indent=2, ensure_ascii=not postman))


def demo(
    *,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Walk no journey; leave it all running, to be tried.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The broker's port, or else a free one.")] = 8000,
) -> None:
    """Show the whole journey on this machine, with a database and a sandbox bank of its own. Needs no settings."""
    raise typer.Exit(run_demo(keep_running=keep_running, port=port))
