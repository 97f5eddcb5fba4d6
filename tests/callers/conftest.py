from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from app.base.encryption import KeyRing
from app.callers.authentication import CallerAuthenticator
from app.callers.build import open_service_tokens
from app.oidc.transport import bank_client
from app.store.last_used import LastUsedTimes
from app.store.postgresql.database import Database
from tests.callers.service_token_client import CACHE_TIMES, CACHE_TTL, NOWHERE, Client, Issuer, MakeClient, settings_for
from tests.support.clock import AdjustableClock
from tests.support.core import core_of
from tests.support.hostile import HostileServer


@pytest.fixture(scope="session")
def key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="session")
def other_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "two", "use": "sig", "alg": "RS256"})


@pytest.fixture
def issuer(hostile: HostileServer, clock: AdjustableClock, key: RSAKey) -> Issuer:
    return Issuer(hostile, clock, key)


@pytest.fixture
async def make_client(key_ring: KeyRing, issuer: Issuer, clock: AdjustableClock) -> AsyncIterator[MakeClient]:
    async with bank_client() as client:

        def make(database: Database = NOWHERE, **changes: Any) -> Client:
            tokens = open_service_tokens(settings_for(issuer, **changes), client, clock, cache_times=CACHE_TIMES)
            core = core_of(database, key_ring, clock)
            return Client(CallerAuthenticator(core, LastUsedTimes(), cache_ttl=CACHE_TTL, service_tokens=tokens))

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client()
