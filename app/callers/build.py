"""Builds the caller services."""

from dataclasses import dataclass

import httpx

from app.base.clock import Clock
from app.base.urls import is_https_or_loopback
from app.callers.audit_log import AuditLog
from app.callers.authentication import CallerAuthenticator
from app.callers.body_budget import BodyBudget, BodyLimits
from app.callers.failure_throttle import ThrottleLimits
from app.callers.limits import CallerLimits
from app.callers.registry import MAX_KEYS, CallerRegistry
from app.callers.service_tokens import ServiceTokenRules, ServiceTokens
from app.core import Core
from app.oidc.provider import CacheTimes, Provider
from app.oidc.provider_metadata import EndpointOverrides
from app.settings import Settings
from app.store.last_used import LastUsedTimes


@dataclass(frozen=True, slots=True)
class CallerServices:
    """Authenticating, limiting and managing callers, and listing the audit log."""

    authenticator: CallerAuthenticator
    limits: CallerLimits
    body_budget: BodyBudget
    registry: CallerRegistry
    audit_log: AuditLog


def build(
    core: Core,
    settings: Settings,
    http: httpx.AsyncClient,
    last_used: LastUsedTimes,
    *,
    throttle_limits: ThrottleLimits = ThrottleLimits(),
    body_limits: BodyLimits = BodyLimits(),
    max_keys: int = MAX_KEYS,
) -> CallerServices:
    """Build the services. `http` fetches the keys of the service tokens' issuer."""
    return CallerServices(
        authenticator=CallerAuthenticator(
            core,
            last_used,
            cache_ttl=settings.cache_ttl,
            service_tokens=open_service_tokens(settings, http, core.clock),
            throttle_limits=throttle_limits,
        ),
        limits=CallerLimits(core.clock, rate=settings.caller_rate, concurrency=settings.caller_concurrency),
        body_budget=BodyBudget(body_limits),
        registry=CallerRegistry(core.database, core.key_ring, max_keys=max_keys),
        audit_log=AuditLog(core),
    )


def open_service_tokens(
    settings: Settings, client: httpx.AsyncClient, clock: Clock, *, cache_times: CacheTimes = CacheTimes()
) -> ServiceTokens | None:
    """Return the validator of service tokens, or None if the settings name no issuer."""
    issuer, audience = settings.service_token_issuer, settings.service_token_audience
    if issuer is None or audience is None:
        return None
    provider = Provider(
        client,
        clock,
        issuer=issuer,
        # Only its keys are used. An issuer of service tokens alone, such as Kubernetes, has no such endpoints.
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
