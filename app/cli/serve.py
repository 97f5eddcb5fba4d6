"""`broker serve`: the HTTP server."""

import contextlib
from typing import Annotated

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from app.api.uvicorn_protocol import StrictHttpProtocol
from app.base.encryption import KeyRing
from app.base.imports import hide_package, import_large_module
from app.base.proxies import check_proxies
from app.cli.database import with_key_ring
from app.cli.workers import serve_with_workers
from app.concurrency.shutdown import REQUEST_DRAIN_SECONDS
from app.errors import DatabaseUnavailable
from app.settings import load_settings
from app.store.encryption_keys import require_keys
from app.store.postgresql.database import Database
from app.store.postgresql.schema import require_schema

# Longer than gateways keep an idle connection (nginx and the AWS load balancer: 60 s). Otherwise the server could close
# a connection just as the gateway sends a request on it.
_KEEP_ALIVE_TIMEOUT = 75  # seconds
# A worker that starts on a busy machine is slow, not hung.
_WORKER_START_TIMEOUT = 60  # seconds


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="The number of processes.")] = 1,
) -> None:
    """Serve until stopped, then finish the requests in progress."""
    # Checked here too, so that a wrong setting is reported once and not by every worker.
    settings = load_settings()
    check_proxies()
    config = uvicorn.Config(
        "app.cli.serve:application",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        ws="none",
        http=StrictHttpProtocol,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_TIMEOUT,
        timeout_graceful_shutdown=int(REQUEST_DRAIN_SECONDS),
        timeout_worker_healthcheck=_WORKER_START_TIMEOUT,
    )
    if workers > 1:
        with contextlib.suppress(DatabaseUnavailable):
            with_key_ring(_require_schema_and_keys)
        serve_with_workers(config, metrics_port=settings.metrics_port)
        return
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise typer.Exit(STARTUP_FAILURE)


def application() -> ASGIApp:
    """Build the application, in each server process."""
    # structlog and httpx import these if they can, for tracebacks and a command line that a server does not use.
    for package in ("rich", "pygments"):
        hide_package(package)
    built: ASGIApp = import_large_module("app.main").application()
    return built


async def _require_schema_and_keys(database: Database, key_ring: KeyRing) -> None:
    await require_schema(database)
    await require_keys(database, key_ring)
