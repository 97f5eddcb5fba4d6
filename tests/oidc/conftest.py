"""The HTTP client for OpenID Connect endpoints, opened as the broker opens it, and providers that tests control."""

from collections.abc import AsyncIterator

import httpx
import pytest
from joserfc.jwk import RSAKey

from app.oidc.provider import CacheTimes, Provider
from app.oidc.transport import bank_client
from tests.oidc.issuer import Issuer
from tests.oidc.providers import provider_for
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, json_reply


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with bank_client() as client:
        yield client


@pytest.fixture(scope="session")
def key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="session")
def other_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "two", "use": "sig", "alg": "RS256"})


@pytest.fixture
def issuer(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer, key: RSAKey) -> Issuer:
    provider = provider_for(client, clock, hostile.url, cache_times=CacheTimes(min_keys_age=0))
    return Issuer(hostile, clock, provider, key)


@pytest.fixture
def scripted(client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer, client_key: RSAKey) -> Provider:
    """The hostile server as a provider, which behaves well at first."""
    hostile.announce()
    hostile.replies["/jwks"] = json_reply({"keys": [client_key.as_dict(private=False)]})
    return provider_for(client, clock, hostile.url)
