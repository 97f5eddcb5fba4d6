"""The ASGI application: `create_app(settings)`, and `application()`, which reads the settings from the environment."""

import asyncio
import gc
import os
from contextlib import AsyncExitStack
from multiprocessing import parent_process

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.docs.openapi import install_openapi
from app.api.docs.pages import install_docs
from app.api.middleware import BodyLimitMiddleware, RequestMiddleware
from app.api.problems import install_problem_handlers
from app.api.query.client_disconnect import DisconnectWatcher
from app.api.query.endpoint import match_query_path, serve_query
from app.api.routes import (
    audit,
    callers,
    connections,
    health,
    interaction_pages,
    interactions,
    login_pages,
    metrics,
    sessions,
    users,
    webhooks,
)
from app.api.trusted_proxies import TrustedProxies
from app.concurrency.shutdown import ShutdownSignal, stop_when_supervisor_ends
from app.errors import BrokerError
from app.maintenance.key_reload import key_reload_on_sighup
from app.observability.logs import configure_logs, get_logger
from app.observability.metrics import is_multiprocess, serve_metrics
from app.observability.opentelemetry_export import export_traces
from app.runtime import RuntimeOptions, open_runtime
from app.settings import Settings, load_settings

# The links of interactions are below `/connect/` too, so they come before those of logins, which match any path there.
_ROUTES = (
    *(sessions, connections, interactions, users, webhooks, callers, audit),
    *(interaction_pages, login_pages, health),
)
logger = get_logger(__name__)


def application() -> ASGIApp:
    """Build the application from the environment, as each worker of `broker serve` does."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    app = create_app(settings)
    # These objects live as long as the process. To scan them at each garbage collection would delay requests.
    gc.collect()
    gc.freeze()
    return app


def create_app(settings: Settings, options: RuntimeOptions = RuntimeOptions()) -> ASGIApp:
    """Build the application. Its startup opens the runtime, and its shutdown closes it."""
    api = create_api(
        with_metrics=settings.metrics_port is None,
        with_query_page=settings.query_page,
        path_prefix=settings.path_prefix,
    )
    shutdown = ShutdownSignal()
    app: ASGIApp = Application(api, settings, shutdown, options)
    if settings.trusted_proxies:
        return TrustedProxies(app, settings.trusted_proxies)
    return app


def create_api(*, with_metrics: bool = True, with_query_page: bool = False, path_prefix: str = "") -> FastAPI:
    """Build the FastAPI application, which serves everything but the query path."""
    # No redirects to the path without its trailing slash: they would contain the request's Host header, unchecked.
    # No telemetry by the framework: it records complete URLs, with the codes and tickets in them.
    api = FastAPI(
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    routers = [module.router for module in _ROUTES]
    if with_metrics:
        routers.append(metrics.router)
    for router in routers:
        api.include_router(router)
    api.state.routes = [route for router in routers for route in router.routes]
    install_problem_handlers(api)
    install_openapi(api, path_prefix)
    install_docs(api, with_query_page=with_query_page)
    return api


def _operation_id(route: APIRoute) -> str:
    """Use the name of the function: generated clients name their functions after it."""
    return route.name


class Application:
    """Opens the runtime, and passes queries to their own endpoint and all other requests to FastAPI."""

    def __init__(
        self, api: FastAPI, settings: Settings, shutdown: ShutdownSignal, options: RuntimeOptions = RuntimeOptions()
    ) -> None:
        self._api = api
        self._settings = settings
        self._options = options
        self._shutdown = shutdown
        self._prefix = settings.path_prefix
        self._disconnects = DisconnectWatcher()
        self._api_with_middleware = RequestMiddleware(BodyLimitMiddleware(api, limit=settings.max_body_bytes), shutdown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the process."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._prefix:
            # Some gateways remove the prefix, others keep it.
            scope["path"] = _remove_prefix(self._prefix, scope["path"])
        if scope["type"] == "http" and (connection_id := match_query_path(scope)) is not None:
            await serve_query(
                self._api.state.runtime, connection_id, scope, receive, send, disconnects=self._disconnects
            )
            return
        if self._prefix:
            # In ASGI, `path` is the whole path and `root_path` the part of it below which the application is served.
            scope["root_path"] = self._prefix
            scope["path"] = self._prefix + scope["path"]
        await self._api_with_middleware(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Implement the ASGI lifespan protocol. A startup that fails logs its reason in one line."""
        async with AsyncExitStack() as stack:
            await receive()
            stack.enter_context(self._shutdown.set_on_signals(self._settings.stop_delay))
            if (supervisor := parent_process()) is not None:
                stack.callback(asyncio.create_task(stop_when_supervisor_ends(supervisor)).cancel)
            # Opened first and closed last, so that it exports the spans of the shutdown too.
            await stack.enter_async_context(export_traces(os.environ))
            try:
                runtime = open_runtime(self._settings, self._shutdown, self._options)
                self._api.state.runtime = await stack.enter_async_context(runtime)
                if self._settings.metrics_port is not None and not is_multiprocess():
                    stack.enter_context(serve_metrics(self._settings.metrics_port))
            except BrokerError as error:
                await send({"type": "lifespan.startup.failed", "message": f"the broker cannot start: {error.detail}"})
                return
            except Exception:
                logger.exception("startup_crashed")
                await send(
                    {"type": "lifespan.startup.failed", "message": "the broker cannot start: see the error above"}
                )
                return
            stack.enter_context(key_reload_on_sighup(self._api.state.runtime.core))
            logger.info("started", public_url=self._settings.public_url)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            logger.info("stopping")
        logger.info("stopped")
        await send({"type": "lifespan.shutdown.complete"})


def _remove_prefix(prefix: str, path: str) -> str:
    return path.removeprefix(prefix) or "/" if f"{path}/".startswith(f"{prefix}/") else path
