"""Providers and back channels for tests."""

from typing import Any

import httpx
from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.base.urls import is_https_or_loopback
from app.oidc.authorization_response import (
    CheckedAuthorizationResponse,
    check_authorization_response,
    parse_authorization_response,
)
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import ClientAuthentication, ClientSecret
from app.oidc.provider import Provider
from sandbox.client import Login
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.support.clock import AdjustableClock

CLIENT_SECRET_POST = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_post")


DISCOVERY = "/.well-known/openid-configuration"


def provider_for(client: httpx.AsyncClient, clock: AdjustableClock, issuer: str, **options: Any) -> Provider:
    """Return a provider; `options` are those of its constructor."""
    return Provider(
        client, clock, **{"issuer": issuer, "timeout": 10, "is_url_allowed": is_https_or_loopback, **options}
    )


def back_channel_for(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    issuer: str,
    authentication: ClientAuthentication = CLIENT_SECRET_POST,
    **options: Any,
) -> BackChannel:
    """Return a back channel; `options` are those of the provider's constructor."""
    return BackChannel(client, provider_for(client, clock, issuer, **options), authentication, clock)


async def checked_response(login: Login, back_channel: BackChannel) -> CheckedAuthorizationResponse:
    """Return the checked redirect of a login at the sandbox."""
    return check_authorization_response(
        parse_authorization_response(list(login.response.items())),
        await back_channel.metadata(),
        state_sha256=sha256_hex(login.state),
    )
