"""The identity providers that the settings name, and the broker's own credentials there."""

import httpx

from app.base.clock import Clock
from app.callers.service_tokens import ServiceTokenRules, ServiceTokens
from app.oidc.client_authentication import ClientAuthentication, ClientSecret, load_private_key
from app.oidc.provider import EndpointOverrides, Extensions, Provider
from app.settings import Settings, is_acceptable_address


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
            pushed_authorization_request_endpoint=settings.stitch_pushed_authorization_request_endpoint,
        ),
        extensions=Extensions(par=settings.stitch_par, dpop=settings.stitch_dpop),
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
