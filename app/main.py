"""The application: `create_app(settings)`, and `application()` for a server that is given no settings."""

from contextlib import AsyncExitStack

from fastapi import FastAPI
from prometheus_client import start_http_server
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import audit, callback, callers, connections, docs, health, metrics, sessions, users
from app.api.graphql import matches, serve_query
from app.api.middleware import BodyLimitMiddleware, RequestMiddleware
from app.api.openapi import install_openapi
from app.api.problems import install_problem_handlers
from app.errors import BrokerError, ConfigurationError
from app.logs import configure_logs, get_logger
from app.runtime import open_runtime
from app.settings import Settings, load_settings
from app.stopping import Stopping

logger = get_logger(__name__)


def application() -> ASGIApp:
    """Build the application from the environment, as each worker of `broker serve` does."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    return create_app(settings)


def create_app(settings: Settings) -> ASGIApp:
    """Build the application. Its start opens the runtime, its end closes it."""
    return RequestMiddleware(Application(create_api(with_metrics=settings.metrics_port is None), settings))


def create_api(*, with_metrics: bool = True) -> FastAPI:
    """Build the part that the web framework serves: all but the query path."""
    api = FastAPI(docs_url=None, redoc_url=None)
    for room in (sessions, connections, users, callers, audit, callback, health, docs):
        api.include_router(room.router)
    if with_metrics:
        api.include_router(metrics.router)
    docs.mount_static(api)
    install_problem_handlers(api)
    install_openapi(api)
    return api


class Application:
    """Opens the runtime, sends queries to their own endpoint, and all else to the web framework."""

    def __init__(self, api: FastAPI, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self._bounded = BodyLimitMiddleware(api, limit=settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and (connection_id := matches(scope)) is not None:
            await serve_query(self._api.state.runtime, connection_id, scope, receive, send)
        else:
            await self._bounded(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Speak the lifespan protocol here, so that a start that cannot be says why in one line."""
        async with AsyncExitStack() as stack:
            await receive()
            stopping = Stopping()
            stack.enter_context(stopping.on_signals())
            try:
                self._api.state.runtime = await stack.enter_async_context(open_runtime(self._settings, stopping))
                _serve_metrics(self._settings, stack)
            except BrokerError as error:
                await send({"type": "lifespan.startup.failed", "message": f"the broker cannot start: {error.detail}"})
                return
            except Exception:
                logger.exception("start_crashed")
                await send(
                    {"type": "lifespan.startup.failed", "message": "the broker cannot start: see the line above"}
                )
                return
            logger.info("started", public_url=self._settings.public_url)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            logger.info("stopping")
        logger.info("stopped")
        await send({"type": "lifespan.shutdown.complete"})


def _serve_metrics(settings: Settings, stack: AsyncExitStack) -> None:
    if settings.metrics_port is None:
        return
    try:
        server, thread = start_http_server(settings.metrics_port)
    except OSError as error:
        raise ConfigurationError(
            f"BROKER_METRICS_PORT: port {settings.metrics_port} cannot be used: {error.strerror}"
        ) from error
    stack.callback(thread.join, 5)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
