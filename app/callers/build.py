"""Builds the services of callers."""

from dataclasses import dataclass

import httpx

from app.base.clock import Clock
from app.base.urls import is_https_or_loopback
from app.callers.audit_log import AuditLog
from app.callers.authentication import CallerAuthenticator
from app.callers.body_budget import BodyBudget
from app.callers.limits import CallerLimits
from app.callers.registry import CallerRegistry
from app.callers.service_tokens import ServiceTokenRules, ServiceTokens
from app.core import Core
from app.oidc.provider import CacheTimes, Provider
from app.oidc.provider_metadata import EndpointOverrides
from app.settings import Settings
from app.store.last_used import LastUsedTimes


@dataclass(frozen=True, slots=True)
class CallerServices:
    """Authenticating callers, limiting and managing them, and reading what they did."""

    authenticator: CallerAuthenticator
    limits: CallerLimits
    bodies: BodyBudget
    registry: CallerRegistry
    audit_log: AuditLog


def build(core: Core, settings: Settings, http: httpx.AsyncClient, usage: LastUsedTimes) -> CallerServices:
    """Build the services. `http` fetches the keys of the service tokens' issuer."""
    return CallerServices(
        authenticator=CallerAuthenticator(
            core, usage, cache_ttl=settings.cache_ttl, service_tokens=open_service_tokens(settings, http, core.clock)
        ),
        limits=CallerLimits(core.clock, rate=settings.caller_rate, concurrency=settings.caller_concurrency),
        bodies=BodyBudget(),
        registry=CallerRegistry(core.database, core.key_ring),
        audit_log=AuditLog(core),
    )


def open_service_tokens(
    settings: Settings, client: httpx.AsyncClient, clock: Clock, *, cache_times: CacheTimes = CacheTimes()
) -> ServiceTokens | None:
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
        is_url_allowed=is_https_or_loopback,
        cache_times=cache_times,
    )
    rules = ServiceTokenRules(
        audience=audience,
        tenant_claim=settings.service_token_tenant_claim,
        permissions_claim=settings.service_token_permissions_claim,
    )
    return ServiceTokens(provider, rules, clock)
