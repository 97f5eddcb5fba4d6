"""An issuer of service tokens, and a client that sends its tokens."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import Key, RSAKey
from pydantic import SecretStr

from app.callers.authentication import Caller, CallerAuthenticator
from app.errors import BrokerUnavailable, UnauthorizedCaller
from app.oidc.provider import CacheTimes
from app.settings import Settings
from app.store.postgresql.database import Database
from tests.oidc.issuer import signed
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, json_reply

AUDIENCE = "broker"

CACHE_TTL = 5.0

DISCOVERY = "/.well-known/openid-configuration"

HOUR = 3_600

# Service tokens need no database.
NOWHERE = Database(SecretStr("postgresql://nowhere.invalid/"))


class Issuer:
    """An issuer of service tokens under the test's control."""

    def __init__(self, server: HostileServer, clock: AdjustableClock, key: RSAKey) -> None:
        self.server = server
        self.clock = clock
        self.key = key
        # Like Kubernetes: there is no endpoint to log in.
        server.announce(authorization_endpoint=None, token_endpoint=None, revocation_endpoint=None)
        self.publish(key)

    def publish(self, *keys: Key) -> None:
        self.server.replies["/jwks"] = json_reply({"keys": [key.as_dict(private=False) for key in keys]})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return valid claims with changes: None removes a claim, a callable gets the time."""
        now = int(self.clock.now().timestamp())
        good = {
            "iss": self.server.url,
            "aud": AUDIENCE,
            "sub": "billing",
            "tenant": "acme",
            "permissions": ["graphql:query", "audit:read"],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        }
        merged = {name: value(now) if callable(value) else value for name, value in {**good, **changes}.items()}
        return {name: value for name, value in merged.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return signed(self.claims(**changes), self.key, header)


def settings_for(issuer: Issuer, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "public_url": "https://broker.example",
        "stitch_client_id": "client",
        "stitch_client_secret": SecretStr("secret"),
        "encryption_keys": SecretStr("k:" + base64.b64encode(bytes(32)).decode()),
        "service_token_issuer": issuer.server.url,
        "service_token_audience": AUDIENCE,
        "bank_timeout": 1,
    }
    return Settings(**(values | changes))


class Client:
    """Sends tokens to the authenticator."""

    def __init__(self, authenticator: CallerAuthenticator) -> None:
        self.authenticator = authenticator

    async def caller(self, token: str) -> Caller:
        return await self.authenticator.authenticate(f"Bearer {token}")

    async def rejection_of(self, token: str) -> str:
        """Return the code of the rejection, which must not repeat the token."""
        with pytest.raises(UnauthorizedCaller) as rejected:
            await self.caller(token)
        for part in token.split("."):
            assert len(part) < 4 or part not in rejected.value.detail
        assert rejected.value.graphql_code == "UNAUTHORIZED_CALLER"
        return rejected.value.code

    async def outage_with(self, token: str) -> str:
        """Return the code of the error that reports the outage."""
        with pytest.raises(BrokerUnavailable) as unavailable:
            await self.caller(token)
        assert unavailable.value.status == 503
        assert unavailable.value.retry_after
        return unavailable.value.code


CACHE_TIMES = CacheTimes(min_keys_age=0)

MakeClient = Callable[..., Client]
