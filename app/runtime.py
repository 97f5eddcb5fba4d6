"""The composition root: opens everything in order, and closes it in the opposite one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

import app.callers.build as callers
import app.connections.build as connections
import app.interactions.build as interactions
import app.login.build as login
import app.maintenance.build as maintenance
import app.query.build as query
import app.refresh.build as refresh
import app.webhooks.build as webhooks
from app.bank.bank import Bank, open_bank
from app.base.clock import Clock, SystemClock
from app.base.encryption import KeyRing
from app.callers.body_budget import BodyLimits
from app.callers.failure_throttle import ThrottleLimits
from app.callers.registry import MAX_KEYS
from app.concurrency.background_tasks import BackgroundTasks, log_unexpected_error
from app.concurrency.shutdown import TASK_DRAIN_SECONDS, ShutdownSignal
from app.core import Core
from app.errors import ConfigurationError, DatabaseUnavailable
from app.login.callback import BROWSER_TIMEOUT
from app.login.connect_links import PUSH_INTERVAL
from app.login.return_urls import ReturnUrls
from app.login.session_lease import LeaseTimes
from app.observability.logs import get_logger
from app.oidc.transport import bank_client
from app.settings import Settings
from app.store.encryption_keys import require_keys
from app.store.last_used import LastUsedTimes
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.postgresql.notifications import Notifications
from app.store.postgresql.schema import require_schema
from app.webhooks.dispatcher import DispatchTimes

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that requests use: the settings, what all topics stand on, and the services of each topic."""

    settings: Settings
    core: Core
    bank: Bank
    callers: callers.CallerServices
    refresh: refresh.RefreshServices
    login: login.LoginServices
    connections: connections.ConnectionServices
    query: query.QueryServices
    interactions: interactions.InteractionServices
    webhooks: webhooks.WebhookServices
    maintenance: maintenance.MaintenanceServices


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """Times and limits that operators cannot set, but tests can."""

    browser_timeout: float = BROWSER_TIMEOUT
    """How many seconds a browser waits for the end of its login."""
    refresh_wait: float | None = None
    """How many seconds a request waits for a refresh, by default a lease and a deadline together."""
    lease_times: LeaseTimes = LeaseTimes()
    """Of login sessions."""
    dispatch_times: DispatchTimes = DispatchTimes()
    throttle_limits: ThrottleLimits = ThrottleLimits()
    body_limits: BodyLimits = BodyLimits()
    max_keys_per_caller: int = MAX_KEYS
    push_interval: float = PUSH_INTERVAL
    """How many seconds pass between two pushes of the request of one login."""


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    shutdown: ShutdownSignal | None = None,
    options: RuntimeOptions = RuntimeOptions(),
    clock: Clock | None = None,
) -> AsyncIterator[Runtime]:
    """Open the broker. Raises ConfigurationError if the database is not migrated or a key file cannot be used."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(
            _open_core(settings, shutdown or ShutdownSignal(), clock or SystemClock())
        )
        http = await stack.enter_async_context(bank_client())
        bank = await stack.enter_async_context(open_bank(settings, http, core.clock))
        runtime = await stack.enter_async_context(build_runtime(core, bank, settings, http, options))
        periodic = runtime.maintenance
        await stack.enter_async_context(
            _running(
                core.notifications.run(),
                periodic.housekeeping.run(),
                periodic.gauges.run(),
                periodic.retention.run(),
                runtime.webhooks.dispatcher.run(),
            )
        )
        stack.push_async_callback(_flush_last_used, runtime)
        stack.push_async_callback(_drain, core.tasks)
        core.tasks.spawn(runtime.refresh.refresher.replay(), "replay of refreshes")
        core.tasks.spawn(runtime.login.token_responses.replay(), "replay of logins")
        yield runtime


@asynccontextmanager
async def build_runtime(
    core: Core,
    bank: Bank,
    settings: Settings,
    http: httpx.AsyncClient,
    options: RuntimeOptions = RuntimeOptions(),
) -> AsyncIterator[Runtime]:
    """Build every topic, bottom up, and keep their caches in step with the database. Nothing runs yet."""
    last_used, return_urls = LastUsedTimes(), ReturnUrls(settings.return_urls)
    caller_services = callers.build(
        core,
        settings,
        http,
        last_used,
        throttle_limits=options.throttle_limits,
        body_limits=options.body_limits,
        max_keys=options.max_keys_per_caller,
    )
    refresh_services = refresh.build(core, bank, settings, last_used, max_wait=options.refresh_wait)
    tokens = refresh_services.tokens
    login_services = _build_login(core, bank, settings, return_urls, options)
    connection_services = connections.build(core, bank, tokens)
    query_services = query.build(bank, tokens)
    async with webhooks.build(core, settings, dispatch_times=options.dispatch_times) as webhook_services:
        runtime = Runtime(
            settings=settings,
            core=core,
            bank=bank,
            callers=caller_services,
            refresh=refresh_services,
            login=login_services,
            connections=connection_services,
            query=query_services,
            interactions=interactions.build(core, settings, return_urls, query_services.proxy.send),
            webhooks=webhook_services,
            maintenance=maintenance.build(
                core,
                bank,
                settings,
                login=login_services,
                refresh=refresh_services,
                revocation_worker=connection_services.revocation_worker,
                authenticator=caller_services.authenticator,
                last_used=last_used,
            ),
        )
        _keep_caches_current(runtime)
        yield runtime


@asynccontextmanager
async def _open_core(settings: Settings, shutdown: ShutdownSignal, clock: Clock) -> AsyncIterator[Core]:
    key_ring = KeyRing.parse(settings.encryption_keys.get_secret_value())
    with database_address(settings) as url:
        database = Database(url, through_pooler=settings.database_listen_url is not None)
        try:
            await _wait_for_schema(database, shutdown)
            await require_keys(database, key_ring)
            notifications = Notifications(Database(settings.database_listen_url or url))
            yield Core(database, key_ring, clock, notifications, BackgroundTasks(), shutdown)
        finally:
            await database.close()


async def _wait_for_schema(database: Database, shutdown: ShutdownSignal) -> None:
    while True:
        try:
            await require_schema(database)
        except DatabaseUnavailable as error:
            logger.warning("waiting_for_database", about="BROKER_DATABASE_URL", reason=error.reason)
            await asyncio.sleep(1)
        else:
            return
        if shutdown.is_set:
            raise ConfigurationError("told to stop before the database could be reached")


def _build_login(
    core: Core, bank: Bank, settings: Settings, return_urls: ReturnUrls, options: RuntimeOptions
) -> login.LoginServices:
    return login.build(
        core,
        bank,
        settings,
        return_urls,
        browser_timeout=options.browser_timeout,
        lease_times=options.lease_times,
        push_interval=options.push_interval,
    )


def _keep_caches_current(runtime: Runtime) -> None:
    """Forget what a notification says has changed; everything, if notifications may have been missed."""
    tokens, authenticator = runtime.refresh.tokens, runtime.callers.authenticator

    def forget(topic: str | None) -> None:
        kind, _, identifier = (topic or "").partition(":")
        if topic is None:
            tokens.invalidate_all()
            authenticator.invalidate_all()
        elif kind == "connection":
            tokens.invalidate(identifier)
        elif kind == "caller":
            authenticator.invalidate(identifier)

    notifications = runtime.core.notifications
    notifications.observe(forget)
    runtime.core.database.on_change(notifications.announce)


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    running = [asyncio.create_task(one) for one in work]
    for task in running:
        task.add_done_callback(log_unexpected_error)
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _drain(tasks: BackgroundTasks) -> None:
    if left := await tasks.drain(TASK_DRAIN_SECONDS):
        logger.error("stopped_with_work_left", work=left)


async def _flush_last_used(runtime: Runtime) -> None:
    with contextlib.suppress(DatabaseUnavailable):
        await runtime.maintenance.housekeeping.flush_last_used()
