"""Callers that authenticate with a signed token, and attacks on that, with an issuer that runs over HTTP."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, Key, RSAKey

from app.base.encryption import KeyRing
from app.callers.permissions import Permission
from app.callers.registry import CallerRegistry
from app.errors import PermissionDenied
from app.store.postgresql.database import Database
from tests.callers.service_token_client import AUDIENCE, HOUR, Client, Issuer, MakeClient
from tests.oidc.issuer import signed, unsigned


async def test_a_valid_token_provides_caller_tenant_and_permissions(client: Client, issuer: Issuer) -> None:
    caller = await client.caller(issuer.token())
    assert (caller.id, caller.tenant, caller.key_id) == ("svc_billing", "acme", None)
    assert caller.permissions == {Permission.GRAPHQL_QUERY, Permission.AUDIT_READ}
    caller.require(Permission.GRAPHQL_QUERY)
    with pytest.raises(PermissionDenied, match="svc_billing"):
        caller.require(Permission.ADMIN)


GOOD: list[dict[str, Any]] = [
    {"aud": ["another", AUDIENCE]},
    {"nbf": None},
    {"exp": lambda now: now - 50},
    {"iat": lambda now: now + 50, "nbf": lambda now: now + 50},
    {"iat": lambda now: now - 23 * HOUR},
    {"exp": lambda now: now + 24 * HOUR},
    {"exp": lambda now: now + 0.5},
    {"azp": "whoever", "nonce": 1},
]


@pytest.mark.parametrize("changes", GOOD)
async def test_valid_claims_are_accepted(client: Client, issuer: Issuer, changes: dict[str, Any]) -> None:
    assert (await client.caller(issuer.token(**changes))).id == "svc_billing"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", None])
async def test_a_token_may_state_its_type(client: Client, issuer: Issuer, kind: str | None) -> None:
    await client.caller(issuer.token({"typ": kind}))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"iss": None}, "issuer"),
    ({"iss": "https://evil.example"}, "issuer"),
    ({"iss": ["https://evil.example"]}, "issuer"),
    ({"aud": None}, "audience"),
    ({"aud": "another"}, "audience"),
    ({"aud": []}, "audience"),
    ({"aud": {AUDIENCE: 1}}, "audience"),
    ({"aud": f"{AUDIENCE} another"}, "audience"),
    ({"exp": None}, "expired"),
    ({"exp": lambda now: now - 61}, "expired"),
    ({"exp": "9999999999"}, "expired"),
    ({"exp": True}, "expired"),
    ({"exp": float("nan")}, "expired"),
    ({"exp": float("inf")}, "expired"),
    ({"exp": 10**400}, "expired"),
    ({"exp": lambda now: now + 25 * HOUR}, "lifetime"),
    ({"exp": 1e300}, "lifetime"),
    ({"iat": lambda now: now - 24 * HOUR}, "lifetime"),
    ({"iat": -1e300}, "lifetime"),
    ({"iat": None}, "issued_at"),
    ({"iat": "now"}, "issued_at"),
    ({"iat": float("nan")}, "issued_at"),
    ({"iat": lambda now: now + 120}, "issued_at"),
    ({"nbf": lambda now: now + 120}, "not_before"),
    ({"nbf": "now"}, "not_before"),
    ({"nbf": float("nan")}, "not_before"),
    ({"sub": None}, "subject"),
    ({"sub": ""}, "subject"),
    ({"sub": 1}, "subject"),
    ({"sub": "a" * 256}, "subject"),
    ({"sub": "\ud800"}, "subject"),
    ({"tenant": None}, "tenant"),
    ({"tenant": ""}, "tenant"),
    ({"tenant": ["acme"]}, "tenant"),
    ({"tenant": "a\x00"}, "tenant"),
    ({"tenant": "\ud800"}, "tenant"),
    ({"permissions": {"admin": True}}, "permissions"),
    ({"permissions": 1}, "permissions"),
]


@pytest.mark.parametrize(("changes", "check"), BAD)
async def test_a_wrong_or_missing_claim_is_rejected(
    client: Client, issuer: Issuer, changes: dict[str, Any], check: str
) -> None:
    assert await client.rejection_of(issuer.token(**changes)) == f"service_token_{check}"


def hs256_with_public_key(issuer: Issuer) -> str:
    """Accepted by a validator that uses the public key with whatever algorithm the header names."""
    header, claims, _ = unsigned({"alg": "HS256", "kid": "one"}, issuer.claims()).split(".")
    signature = hmac.digest(issuer.key.as_pem(private=False), f"{header}.{claims}".encode(), hashlib.sha256)
    return f"{header}.{claims}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def with_other_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{unsigned({}, issuer.claims(tenant='victim')).split('.')[1]}.{signature}"


Forge = Callable[[Issuer, RSAKey], str]

ATTACKS: dict[str, tuple[Forge, str]] = {
    "alg none": (lambda issuer, _: unsigned({"alg": "none"}, issuer.claims()), "algorithm"),
    "alg None": (lambda issuer, _: unsigned({"alg": "None", "kid": "one"}, issuer.claims()), "algorithm"),
    "no alg": (lambda issuer, _: unsigned({"kid": "one"}, issuer.claims()), "malformed"),
    "alg a list": (lambda issuer, _: unsigned({"alg": ["RS256"]}, issuer.claims()), "algorithm"),
    "an algorithm beyond the list": (lambda issuer, _: issuer.token({"alg": "RS512"}), "algorithm"),
    "HS256 with the public key": (lambda issuer, _: hs256_with_public_key(issuer), "algorithm"),
    "another key": (lambda issuer, other: signed(issuer.claims(), other), "key"),
    "another key by the same name": (lambda issuer, other: signed(issuer.claims(), other, {"kid": "one"}), "signature"),
    "a key brought along": (
        lambda issuer, other: signed(issuer.claims(), other, {"kid": None, "jwk": other.as_dict(private=False)}),
        "signature",
    ),
    "a list for a header": (lambda *_: "WyJhbGciXQ.e30.AA", "malformed"),
    "a text for a header": (lambda *_: "ImFsZyI.e30.AA", "malformed"),
    "no signature": (lambda issuer, _: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims()), "signature"),
    "other claims": (lambda issuer, _: with_other_claims(issuer), "signature"),
    "an id_token's type": (lambda issuer, _: issuer.token({"typ": "id_token+jwt"}), "type"),
    "a logout token": (lambda issuer, _: issuer.token({"typ": "logout+jwt"}), "type"),
    "a type that is no text": (lambda issuer, _: unsigned({"alg": "RS256", "typ": 1}, {}), "type"),
    "no token": (lambda issuer, _: "nonsense", "malformed"),
    "empty parts": (lambda issuer, _: "..", "malformed"),
    "too many parts": (lambda issuer, _: issuer.token() + ".x", "malformed"),
    "not JSON": (lambda issuer, _: signed(b"\xff", issuer.key), "malformed"),
    "no object": (lambda issuer, _: signed([1], issuer.key), "malformed"),
    "claims without end": (lambda issuer, _: signed(b"[" * 9_000, issuer.key), "malformed"),
    "a token without end": (lambda issuer, _: issuer.token(filling="a" * 20_000), "too_large"),
    "critical extension": (
        lambda issuer, _: unsigned({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, issuer.claims()),
        "malformed",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_forged_token_is_rejected(client: Client, issuer: Issuer, other_key: RSAKey, name: str) -> None:
    forge, check = ATTACKS[name]
    assert await client.rejection_of(forge(issuer, other_key)) == f"service_token_{check}"


@pytest.mark.parametrize("algorithm", ["PS256", "ES256"])
async def test_other_allowed_algorithms_are_accepted(client: Client, issuer: Issuer, algorithm: str) -> None:
    key: Key = (
        ECKey.generate_key("P-256", {"kid": "k"})
        if algorithm == "ES256"
        else RSAKey.generate_key(2048, {"kid": "k", "use": "sig"})
    )
    issuer.publish(key)
    await client.caller(signed(issuer.claims(), key, {"alg": algorithm}))


@pytest.mark.parametrize(
    ("granted", "permissions"),
    [
        (["admin", "tokens:read"], {"admin", "tokens:read"}),
        ("admin  tokens:read", {"admin", "tokens:read"}),
        (["admin", "fly", "Admin", 1, None, ["admin"]], {"admin"}),
        ("openid profile", set()),
        ("", set()),
        ([], set()),
        (None, set()),
    ],
)
async def test_permissions_are_a_list_or_a_string_and_unknown_ones_grant_nothing(
    client: Client, issuer: Issuer, granted: object, permissions: set[str]
) -> None:
    assert (await client.caller(issuer.token(permissions=granted))).permissions == permissions


async def test_the_names_of_the_claims_can_be_configured(make_client: MakeClient, issuer: Issuer) -> None:
    client = make_client(
        service_token_tenant_claim="https://acme.example/unit", service_token_permissions_claim="scope"
    )
    claims = issuer.claims(scope="sessions:write") | {"https://acme.example/unit": "north"}
    caller = await client.caller(signed(claims, issuer.key))
    assert caller.tenant == "north"
    assert caller.permissions == {"sessions:write"}


SUBJECTS = [
    "system:serviceaccount:prod:billing",
    "spiffe://acme.example/billing",
    "billing@acme.example",
    "two words",
    "line\nbreak",
    "é",
    "e\u0301",
    "%C3%A9",
    "<script>",
    "a" * 255,
    "a" * 254,
    "🦆" * 200,
    "*",
    "svc_billing",
]


async def test_a_callers_id_is_stable_unique_and_safe_in_logs(client: Client, issuer: Issuer) -> None:
    ids = [(await client.caller(issuer.token(sub=subject))).id for subject in SUBJECTS]
    assert ids[0] == "svc_system:serviceaccount:prod:billing"
    assert len(set(ids)) == len(SUBJECTS)
    for caller_id in ids:
        assert caller_id.isascii()
        assert caller_id.isprintable()
        assert not set(caller_id) & set(' "<>\\')
        assert len(caller_id) <= 140
    assert [(await client.caller(issuer.token(sub=subject, jti="another"))).id for subject in SUBJECTS] == ids


async def test_api_keys_are_accepted_beside_service_tokens_and_need_no_issuer(
    make_client: MakeClient, issuer: Issuer, database: Database, key_ring: KeyRing
) -> None:
    client = make_client(database)
    issuer.server.replies.clear()
    record, api_key = await CallerRegistry(database, key_ring).create(
        tenant="default", name="with a key", permissions=["admin"], actor="tests"
    )
    caller = await client.caller(api_key.get_secret_value())
    assert (caller.id, caller.key_id is not None) == (record.id, True)
    assert await client.rejection_of("brk_nonsense") == "unauthorized_caller"
    assert issuer.server.received == []


async def test_without_the_settings_service_tokens_are_rejected(make_client: MakeClient, issuer: Issuer) -> None:
    client = make_client(service_token_issuer=None, service_token_audience=None)
    assert await client.rejection_of(issuer.token()) == "unauthorized_caller"
    assert issuer.server.received == []
