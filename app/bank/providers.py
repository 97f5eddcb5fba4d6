"""The bank's OpenID provider and the client authentication, as the settings have them."""

import httpx

from app.base.clock import Clock
from app.base.urls import is_https_or_loopback
from app.oidc.client_authentication import ClientAuthentication, ClientSecret, load_private_key
from app.oidc.provider import CacheTimes, Provider
from app.oidc.provider_metadata import EndpointOverrides, Extensions
from app.settings import Settings


def open_provider(
    settings: Settings, client: httpx.AsyncClient, clock: Clock, *, cache_times: CacheTimes = CacheTimes()
) -> Provider:
    """Return the bank's OpenID provider."""
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
        is_url_allowed=is_https_or_loopback,
        cache_times=cache_times,
    )


def client_authentication(settings: Settings, clock: Clock) -> ClientAuthentication:
    """Return the client authentication of the settings. Raises ConfigurationError."""
    if settings.stitch_client_auth == "private_key_jwt":
        assert settings.stitch_private_key_file is not None
        return load_private_key(
            settings.stitch_client_id, settings.stitch_private_key_file, settings.stitch_private_key_id, clock
        )
    assert settings.stitch_client_secret is not None
    return ClientSecret(settings.stitch_client_id, settings.stitch_client_secret, settings.stitch_client_auth)
