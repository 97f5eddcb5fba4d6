"""The composition root: opens everything in order, and closes it in the opposite one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from app.clock import Clock, SystemClock
from app.encryption import KeyRing
from app.errors import ConfigurationError, DatabaseUnavailable
from app.logs import get_logger
from app.oidc.client_authentication import ClientAuthentication, ClientSecret, load_private_key
from app.oidc.discovery import EndpointOverrides, Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import bank_client
from app.services.background import BackgroundTasks
from app.services.breaker import Breaker
from app.services.caller_registry import CallerRegistry
from app.services.callers import CallerAuthenticator
from app.services.completion import Completion
from app.services.confirmation import Confirmations
from app.services.connect import ConnectLinks
from app.services.connections import Connections
from app.services.disconnect import Disconnecting
from app.services.documents import Documents
from app.services.housekeeping import Housekeeping
from app.services.limits import CallerLimits
from app.services.linking import Linking
from app.services.login import Logins
from app.services.proxy import QueryProxy, query_pool
from app.services.refresh import Refresher, Timing
from app.services.return_urls import ReturnUrls
from app.services.revoker import Revoker
from app.services.service_tokens import ServiceTokenRules, ServiceTokens
from app.services.spool import Spool
from app.services.tokens import Tokens
from app.services.usage import Usage
from app.settings import Settings, is_acceptable_address
from app.stopping import Stopping
from app.store.address import database_address
from app.store.database import Database
from app.store.migrate import current_revision, expected_revision
from app.store.notifications import Notifications

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
    database: Database
    notifications: Notifications
    tasks: BackgroundTasks
    authenticator: CallerAuthenticator
    limits: CallerLimits
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
        database = Database(url)
        stack.push_async_callback(database.close)
        await _wait_for_schema(database, stopping)
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
        token_endpoint = TokenEndpoint(client, provider, authentication, clock)
        refresher = Refresher(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            spool=Spool(settings.data_dir / "spool", key_ring),
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
        linking = Linking(
            database=database,
            key_ring=key_ring,
            provider=provider,
            clock=clock,
            client_id=settings.stitch_client_id,
        )
        completion = Completion(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            linking=linking,
            tasks=tasks,
            clock=clock,
            patience=_BROWSER_PATIENCE,
        )
        confirmations = Confirmations(database=database, key_ring=key_ring, linking=linking)
        revoker = Revoker(database=database, key_ring=key_ring, token_endpoint=token_endpoint)
        housekeeping = Housekeeping(
            database=database,
            completion=completion,
            confirmations=confirmations,
            revoker=revoker,
            tasks=tasks,
            usage=usage,
        )
        notifications.observe(partial(_heed, tokens, authenticator))
        database.on_change(notifications.announce)
        await stack.enter_async_context(_running(notifications.run(), housekeeping.run()))
        stack.push_async_callback(_flush, housekeeping)
        stack.push_async_callback(_drain, tasks)
        tasks.spawn(refresher.replay(), "replay of the spool")
        yield Runtime(
            settings=settings,
            stopping=stopping,
            database=database,
            notifications=notifications,
            tasks=tasks,
            authenticator=authenticator,
            limits=CallerLimits(clock, rate=settings.caller_rate, concurrency=settings.caller_concurrency),
            registry=CallerRegistry(database, key_ring),
            logins=Logins(
                database=database,
                key_ring=key_ring,
                notifications=notifications,
                stopping=stopping,
                provider=provider,
                return_urls=ReturnUrls(settings.return_urls),
                clock=clock,
                client_id=settings.stitch_client_id,
                base_url=settings.base_url,
                scopes=settings.stitch_scopes,
                session_ttl=settings.session_ttl,
            ),
            links=ConnectLinks(database=database, key_ring=key_ring),
            completion=completion,
            confirmations=confirmations,
            connections=Connections(database=database, tokens=tokens),
            disconnecting=Disconnecting(database=database, key_ring=key_ring, revoker=revoker, tasks=tasks),
            tokens=tokens,
            documents=Documents(),
            proxy=QueryProxy(pool, tokens),
        )


def open_provider(settings: Settings, client: httpx.AsyncClient, clock: Clock) -> Provider:
    """Return the provider that the settings name."""
    return Provider(
        client,
        clock,
        issuer=settings.stitch_issuer,
        overrides=EndpointOverrides(
            authorization_endpoint=settings.stitch_authorization_endpoint,
            token_endpoint=settings.stitch_token_endpoint,
            revocation_endpoint=settings.stitch_revocation_endpoint,
            jwks_uri=settings.stitch_jwks_uri,
        ),
        timeout=settings.bank_timeout,
        is_allowed=is_acceptable_address,
    )


def open_service_tokens(settings: Settings, client: httpx.AsyncClient, clock: Clock) -> ServiceTokens | None:
    """Return what validates the service tokens of the issuer that the settings name, if they do."""
    issuer, audience = settings.service_token_issuer, settings.service_token_audience
    if issuer is None or audience is None:
        return None
    provider = Provider(
        client,
        clock,
        issuer=issuer,
        # Its keys are all that is wanted; an issuer of service tokens alone, as Kubernetes is one, has no more.
        overrides=EndpointOverrides(authorization_endpoint=issuer, token_endpoint=issuer),
        timeout=settings.bank_timeout,
        is_allowed=is_acceptable_address,
    )
    rules = ServiceTokenRules(
        audience=audience,
        tenant_claim=settings.service_token_tenant_claim,
        permissions_claim=settings.service_token_permissions_claim,
    )
    return ServiceTokens(provider, rules, clock)


def client_authentication(settings: Settings, clock: Clock) -> ClientAuthentication:
    """Return the client authentication of the settings. Raises ConfigurationError."""
    if settings.stitch_client_auth == "private_key_jwt":
        assert settings.stitch_private_key_file is not None
        return load_private_key(
            settings.stitch_client_id, settings.stitch_private_key_file, settings.stitch_private_key_id, clock
        )
    assert settings.stitch_client_secret is not None
    return ClientSecret(settings.stitch_client_id, settings.stitch_client_secret, settings.stitch_client_auth)


async def require_schema(database: Database) -> None:
    """Raise ConfigurationError on a database that was never migrated, DatabaseUnavailable where there is none."""
    found = await current_revision(database)
    if found is None:
        raise ConfigurationError("the database is empty; run `broker migrate` first")
    if found != expected_revision():
        logger.warning("schema_differs", found=found, expected=expected_revision())


async def _wait_for_schema(database: Database, stopping: Stopping) -> None:
    while True:
        try:
            await require_schema(database)
        except DatabaseUnavailable:
            logger.warning("waiting_for_database")
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
