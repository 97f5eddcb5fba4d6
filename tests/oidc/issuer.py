"""A provider under the test's control, its id_tokens, and forged ones."""

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import Key, RSAKey
from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.errors import IdTokenInvalid
from app.oidc.id_token import ExpectedClaims, validate_id_token
from app.oidc.provider import Provider
from sandbox.settings import CLIENT_ID
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, json_reply

NULL = object()  # a claim that is null; None removes a claim
NONCE, STATE, ACCESS_TOKEN = "the nonce", "the state", "the access token"
EXPECTED = ExpectedClaims(
    client_id=CLIENT_ID,
    nonce_sha256=sha256_hex(NONCE),
    state_sha256=sha256_hex(STATE),
    access_token_sha256=sha256_hex(ACCESS_TOKEN),
)
# A refresh has no nonce and no state, and its access token is not checked.
EXPECTED_OF_A_REFRESH = ExpectedClaims(CLIENT_ID, nonce_sha256=None, state_sha256=None, access_token_sha256=None)


def left_half(value: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).decode().rstrip("=")


def encoded(value: object) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def signed(claims: object, key: Key, header: dict[str, Any] | None = None) -> str:
    """Sign any claims with a good key. A header member that is None is left out."""
    members = {"alg": "RS256" if key.key_type == "RSA" else "ES256", "kid": key.kid, **(header or {})}
    members = {name: value for name, value in members.items() if value is not None}
    # An attacker can use an algorithm that the key is not meant for.
    if key.get("alg") not in (None, members["alg"]):
        key = type(key).import_key({**key.as_dict(private=True), "alg": members["alg"]})
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=["RS256", "PS256", "ES256", "RS512"], strict_check_header=False)
    return jws.serialize_compact(members, payload, key, registry=registry)


def unsigned(header: object, claims: object, signature: bytes = b"") -> str:
    return b".".join([encoded(header), encoded(claims), encoded(signature)]).decode()


class Issuer:
    """A provider whose keys, clock and claims the test controls."""

    def __init__(self, hostile: HostileServer, clock: AdjustableClock, provider: Provider, key: RSAKey) -> None:
        self.hostile = hostile
        self.clock = clock
        self.provider = provider
        self.key = key
        hostile.announce()
        self.publish(key)

    def publish(self, *keys: Key, **changes: object) -> None:
        documents = [{**key.as_dict(private=False), **changes} for key in keys]
        self.hostile.replies["/jwks"] = json_reply(
            {"keys": [{name: value for name, value in jwk.items() if value is not None} for jwk in documents]}
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return valid claims with changes. None removes a claim; a callable is called with the time."""
        now = int(self.clock.now().timestamp())
        good = {
            "iss": self.hostile.url,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "nbf": now,
            "iat": now,
            "nonce": NONCE,
            "at_hash": left_half(ACCESS_TOKEN),
            "s_hash": left_half(STATE),
            "sub": "the user",
        }
        merged = {name: value(now) if callable(value) else value for name, value in {**good, **changes}.items()}
        return {name: None if value is NULL else value for name, value in merged.items() if value is not None}

    async def accepts(self, id_token: str, expected: ExpectedClaims = EXPECTED) -> str:
        """Return the subject."""
        return (await validate_id_token(SecretStr(id_token), self.provider, expected, self.clock.now())).subject

    async def refusal_of(self, id_token: str, expected: ExpectedClaims = EXPECTED) -> str:
        """Return the code of the refusal."""
        with pytest.raises(IdTokenInvalid) as refused:
            await self.accepts(id_token, expected)
        assert not id_token or id_token not in refused.value.detail
        return refused.value.code
