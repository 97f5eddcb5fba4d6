"""One client that is registered at one bank, with all the ways to reach that bank."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from app.bank.circuit_breaker import CircuitBreaker
from app.bank.dpop_proofs import DpopProofs
from app.bank.own_client import OwnClient
from app.bank.providers import client_authentication, open_provider
from app.base.bank_client import BankClient
from app.base.clock import Clock
from app.base.proxies import proxy_for
from app.http_client import ConnectionPool
from app.oidc.authorization_endpoint import AuthorizationEndpoint
from app.oidc.back_channel import BackChannel
from app.oidc.provider import CacheTimes, Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.settings import Settings

# Shorter than servers keep an idle connection: a query on one that the server is closing would get no answer. Seconds.
_KEEP_ALIVE = 15.0
_CONNECT_TIMEOUT = 5.0
_QUEUE_TIMEOUT = 5.0
_TOTAL_TIMEOUT = 3_600.0


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank client: its registration, its OpenID Connect endpoints, and the pool for GraphQL queries."""

    own_client: OwnClient
    provider: Provider
    token_endpoint: TokenEndpoint
    authorization_endpoint: AuthorizationEndpoint
    circuit_breaker: CircuitBreaker
    query_pool: ConnectionPool
    query_proofs: DpopProofs


@asynccontextmanager
async def open_bank(
    settings: Settings, http: httpx.AsyncClient, clock: Clock, *, cache_times: CacheTimes = CacheTimes()
) -> AsyncIterator[Bank]:
    """Open the bank client of the settings. Raises ConfigurationError if its private key cannot be used."""
    provider = open_provider(settings, http, clock, cache_times=cache_times)
    back_channel = BackChannel(http, provider, client_authentication(settings, clock), clock)
    async with _query_pool(settings) as pool:
        yield Bank(
            own_client=OwnClient(BankClient(settings.stitch_issuer, settings.stitch_client_id)),
            provider=provider,
            token_endpoint=TokenEndpoint(back_channel),
            authorization_endpoint=AuthorizationEndpoint(
                back_channel,
                client_id=settings.stitch_client_id,
                timeout=settings.bank_timeout,
                prompt=settings.stitch_prompt,
            ),
            circuit_breaker=CircuitBreaker(clock),
            query_pool=pool,
            query_proofs=DpopProofs(settings.stitch_graphql_url, clock),
        )


@asynccontextmanager
async def _query_pool(settings: Settings) -> AsyncIterator[ConnectionPool]:
    """Open the connections for queries. A query ends after `query_timeout` seconds without a byte from the bank."""
    pool = ConnectionPool(
        settings.stitch_graphql_url,
        max_connections=settings.query_concurrency,
        queue_length=settings.query_concurrency,
        queue_timeout=_QUEUE_TIMEOUT,
        connect_timeout=_CONNECT_TIMEOUT,
        first_byte_timeout=settings.query_timeout,
        between_bytes_timeout=settings.query_timeout,
        total_timeout=_TOTAL_TIMEOUT,
        keep_alive_seconds=_KEEP_ALIVE,
        proxy=proxy_for(settings.stitch_graphql_url),
    )
    try:
        yield pool
    finally:
        await pool.close()
