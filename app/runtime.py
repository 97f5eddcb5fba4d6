"""The composition root: opens everything in order, and closes it in the opposite one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.bank.circuit_breaker import Breaker
from app.bank.dpop_proofs import QueryProofs
from app.bank.providers import client_authentication, open_provider, open_service_tokens
from app.base.clock import Clock, SystemClock
from app.base.encryption import KeyRing
from app.callers.authentication import CallerAuthenticator
from app.callers.body_budget import BodyBudget
from app.callers.limits import CallerLimits
from app.callers.registry import CallerRegistry
from app.concurrency.background_tasks import BackgroundTasks, report_fault
from app.concurrency.shutdown import Stopping
from app.connections.disconnect import Disconnecting
from app.connections.revocation_worker import Revoker
from app.connections.service import Connections
from app.errors import ConfigurationError, DatabaseUnavailable
from app.interactions.browser import InteractionPages
from app.interactions.outcome import Decisions
from app.interactions.service import Interactions
from app.login.build import callback_services
from app.login.callback import Completion
from app.login.confirmation import Confirmations
from app.login.connect_links import ConnectLinks
from app.login.return_urls import ReturnUrls
from app.login.sessions import Logins
from app.maintenance.gauges import Vitals
from app.maintenance.housekeeping import Housekeeping
from app.maintenance.retention import Ages, Retention
from app.observability.logs import get_logger
from app.oidc.authorization_url import FrontChannel
from app.oidc.back_channel import BackChannel
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import bank_client
from app.query.mutations import Documents
from app.query.proxy import QueryProxy, query_pool
from app.refresh.refresher import Refresher, Timing
from app.refresh.tokens import Tokens
from app.settings import Settings
from app.spool.refreshes import Spool
from app.store.encryption_keys import require_keys
from app.store.last_used import Usage
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.postgresql.migrate import require_schema
from app.store.postgresql.notifications import Notifications
from app.webhooks.address_guard import AddressGuard
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.sending import webhook_client
from app.webhooks.service import Webhooks

# What the server gives answers under way, and then the broker its refreshes: together less than the 30 s after which
# orchestrators kill.
ANSWER_SECONDS = 15.0
DRAIN_SECONDS = 12.0
_BROWSER_PATIENCE = 8.0
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that requests use."""

    settings: Settings
    stopping: Stopping
    key_ring: KeyRing
    database: Database
    notifications: Notifications
    tasks: BackgroundTasks
    authenticator: CallerAuthenticator
    limits: CallerLimits
    bodies: BodyBudget
    registry: CallerRegistry
    logins: Logins
    links: ConnectLinks
    completion: Completion
    confirmations: Confirmations
    connections: Connections
    disconnecting: Disconnecting
    tokens: Tokens
    documents: Documents
    proxy: QueryProxy
    webhooks: Webhooks
    interactions: Interactions
    interaction_pages: InteractionPages


@asynccontextmanager
async def open_runtime(
    settings: Settings, stopping: Stopping | None = None, clock: Clock | None = None
) -> AsyncIterator[Runtime]:
    """Open the broker. Raises ConfigurationError where the database is not migrated or a key file is not usable."""
    clock = clock or SystemClock()
    stopping = stopping or Stopping()
    key_ring = KeyRing.parse(settings.encryption_keys.get_secret_value())
    authentication = client_authentication(settings, clock)
    async with AsyncExitStack() as stack:
        url = stack.enter_context(database_address(settings))
        database = Database(url, by_way_of_pooler=settings.database_listen_url is not None)
        stack.push_async_callback(database.close)
        await _wait_for_schema(database, stopping)
        await require_keys(database, key_ring)
        notifications = Notifications(Database(settings.database_listen_url or url))
        client = await stack.enter_async_context(bank_client())
        pool = await stack.enter_async_context(
            query_pool(
                settings.stitch_graphql_url,
                patience=settings.query_timeout,
                concurrency=settings.query_concurrency,
            )
        )
        tasks, usage = BackgroundTasks(), Usage()
        provider = open_provider(settings, client, clock)
        back_channel = BackChannel(client, provider, authentication, clock)
        token_endpoint = TokenEndpoint(back_channel)
        front_channel = FrontChannel(
            back_channel,
            client_id=settings.stitch_client_id,
            timeout=settings.bank_timeout,
            prompt=settings.stitch_prompt,
        )
        spool = Spool(settings.data_dir / "spool", key_ring)
        refresher = Refresher(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            spool=spool,
            breaker=Breaker(clock),
            clock=clock,
            timing=Timing(deadline=settings.refresh_deadline, lease=settings.refresh_lease),
        )
        tokens = Tokens(
            database=database,
            key_ring=key_ring,
            notifications=notifications,
            refresher=refresher,
            tasks=tasks,
            usage=usage,
            clock=clock,
            cache_ttl=settings.cache_ttl,
            longest_wait=settings.refresh_lease + settings.refresh_deadline,
        )
        authenticator = CallerAuthenticator(
            database,
            key_ring,
            usage,
            clock,
            cache_ttl=settings.cache_ttl,
            service_tokens=open_service_tokens(settings, client, clock),
        )
        callback = callback_services(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            client_id=settings.stitch_client_id,
            spool=settings.data_dir / "spool",
            tasks=tasks,
            clock=clock,
            patience=_BROWSER_PATIENCE,
        )
        revoker = Revoker(database=database, key_ring=key_ring, token_endpoint=token_endpoint)
        housekeeping = Housekeeping(
            database=database,
            completion=callback.completion,
            confirmations=callback.confirmations,
            revoker=revoker,
            tasks=tasks,
            usage=usage,
        )
        documents = Documents()
        proxy = QueryProxy(pool, tokens, QueryProofs(settings.stitch_graphql_url, clock), documents)
        decisions = Decisions(database=database, proxy=proxy, tasks=tasks, patience=_BROWSER_PATIENCE)
        return_urls = ReturnUrls(settings.return_urls)
        guard = AddressGuard(settings.webhook_private_networks)
        dispatcher = Dispatcher(
            database=database,
            key_ring=key_ring,
            notifications=notifications,
            stopping=stopping,
            tasks=tasks,
            client=await stack.enter_async_context(webhook_client(guard)),
            clock=clock,
            timeout=settings.webhook_timeout,
        )
        vitals = Vitals(database=database, pool=pool, tokens=tokens, authenticator=authenticator, spool=spool)
        ages = Ages(
            sessions=settings.session_retention_days,
            refreshes=settings.refresh_retention_days,
            tombstones=settings.tombstone_retention_days,
            audit=settings.audit_retention_days,
        )
        retention = Retention(database, ages)
        notifications.observe(partial(_heed, tokens, authenticator))
        database.on_change(notifications.announce)
        await stack.enter_async_context(
            _running(notifications.run(), housekeeping.run(), vitals.run(), retention.run(), dispatcher.run())
        )
        stack.push_async_callback(_flush, housekeeping)
        stack.push_async_callback(_drain, tasks)
        tasks.spawn(refresher.replay(), "replay of refreshes")
        tasks.spawn(callback.answers.replay(), "replay of logins")
        yield Runtime(
            settings=settings,
            stopping=stopping,
            key_ring=key_ring,
            database=database,
            notifications=notifications,
            tasks=tasks,
            authenticator=authenticator,
            limits=CallerLimits(clock, rate=settings.caller_rate, concurrency=settings.caller_concurrency),
            bodies=BodyBudget(),
            registry=CallerRegistry(database, key_ring),
            logins=Logins(
                database=database,
                key_ring=key_ring,
                notifications=notifications,
                stopping=stopping,
                front_channel=front_channel,
                return_urls=return_urls,
                clock=clock,
                base_url=settings.base_url,
                scopes=settings.stitch_scopes,
                session_ttl=settings.session_ttl,
            ),
            links=ConnectLinks(database=database, key_ring=key_ring, front_channel=front_channel, clock=clock),
            completion=callback.completion,
            confirmations=callback.confirmations,
            connections=Connections(database=database, tokens=tokens),
            disconnecting=Disconnecting(database=database, key_ring=key_ring, revoker=revoker, tasks=tasks),
            tokens=tokens,
            documents=documents,
            proxy=proxy,
            webhooks=Webhooks(database=database, key_ring=key_ring, guard=guard),
            interactions=Interactions(
                database=database,
                key_ring=key_ring,
                notifications=notifications,
                stopping=stopping,
                decisions=decisions,
                return_urls=return_urls,
                clock=clock,
                issuer=settings.stitch_issuer,
                base_url=settings.base_url,
                time_to_live=settings.session_ttl,
            ),
            interaction_pages=InteractionPages(database=database, key_ring=key_ring, decisions=decisions),
        )


async def _wait_for_schema(database: Database, stopping: Stopping) -> None:
    while True:
        try:
            await require_schema(database)
        except DatabaseUnavailable as error:
            logger.warning("waiting_for_database", about="BROKER_DATABASE_URL", reason=error.reason)
            await asyncio.sleep(1)
        else:
            return
        if stopping.has_begun:
            raise ConfigurationError("told to stop before the database could be reached")


def _heed(tokens: Tokens, authenticator: CallerAuthenticator, topic: str | None) -> None:
    """Forget what a notification says has changed; everything, where notifications may have been missed."""
    kind, _, identifier = (topic or "").partition(":")
    if topic is None:
        tokens.forget_all()
        authenticator.forget_all()
    elif kind == "connection":
        tokens.forget(identifier)
    elif kind == "caller":
        authenticator.forget(identifier)


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    running = [asyncio.create_task(one) for one in work]
    for task in running:
        task.add_done_callback(report_fault)
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _drain(tasks: BackgroundTasks) -> None:
    if left := await tasks.drain(DRAIN_SECONDS):
        logger.error("stopped_with_work_left", work=left)


async def _flush(housekeeping: Housekeeping) -> None:
    with contextlib.suppress(DatabaseUnavailable):
        await housekeeping.flush_usage()
