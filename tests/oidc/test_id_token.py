import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey
from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.errors import BankError, IdTokenInvalid
from app.oidc.id_token import ExpectedClaims, unverified_subject, validate_id_token
from app.oidc.provider import CacheTimes, Provider
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.oidc.providers import provider_for
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


async def test_a_valid_id_token_yields_the_subject(issuer: Issuer) -> None:
    claims = await validate_id_token(
        SecretStr(signed(issuer.claims(), issuer.key)), issuer.provider, EXPECTED, issuer.clock.now()
    )
    assert (claims.subject, claims.issuer) == ("the user", issuer.hostile.url)


async def test_the_id_token_of_the_sandbox_is_valid(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str
) -> None:
    provider = provider_for(client, clock, bank_url)
    login = await bank.log_in()
    tokens = (await bank.request_token(login.code_grant())).json()
    expected = ExpectedClaims(
        client_id=CLIENT_ID,
        nonce_sha256=sha256_hex(login.nonce),
        state_sha256=sha256_hex(login.state),
        access_token_sha256=sha256_hex(tokens["access_token"]),
    )
    claims = await validate_id_token(SecretStr(tokens["id_token"]), provider, expected, clock.now())
    assert claims.subject == await bank.sub_of("thandi")


GOOD_CLAIMS: list[dict[str, Any]] = [
    {"at_hash": None, "s_hash": None, "nbf": None},
    {"at_hash": left_half(ACCESS_TOKEN) + "=="},
    {"aud": [CLIENT_ID]},
    {"aud": [CLIENT_ID], "azp": CLIENT_ID},
    {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
    {"azp": CLIENT_ID},
    {"exp": lambda now: now - 50},
    {"exp": lambda now: now + 0.5},
    {"iat": lambda now: now + 50, "nbf": lambda now: now + 50},
    {"iat": lambda now: now - 950},
    {"sub": "a" * 255},
    *({"at_hash": empty, "s_hash": empty, "azp": empty} for empty in ("", NULL)),
    {"nbf": NULL},
]


@pytest.mark.parametrize("changes", GOOD_CLAIMS)
async def test_claims_within_the_standard_pass(issuer: Issuer, changes: dict[str, Any]) -> None:
    assert await issuer.accepts(signed(issuer.claims(**changes), issuer.key))


BAD_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"iss": None}, "id_token_issuer"),
    ({"iss": "https://evil.example"}, "id_token_issuer"),
    ({"iss": ["https://evil.example"]}, "id_token_issuer"),
    ({"aud": None}, "id_token_audience"),
    ({"aud": "another"}, "id_token_audience"),
    ({"aud": []}, "id_token_audience"),
    ({"aud": ["another"]}, "id_token_audience"),
    ({"aud": {CLIENT_ID: 1}}, "id_token_audience"),
    ({"aud": f"{CLIENT_ID} another"}, "id_token_audience"),
    ({"aud": [CLIENT_ID, "another"]}, "id_token_authorized_party"),
    ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "id_token_authorized_party"),
    ({"azp": "another"}, "id_token_authorized_party"),
    ({"exp": None}, "id_token_expired"),
    ({"exp": lambda now: now - 61}, "id_token_expired"),
    ({"exp": "9999999999"}, "id_token_expired"),
    ({"exp": True}, "id_token_expired"),
    ({"exp": []}, "id_token_expired"),
    ({"iat": None}, "id_token_issued_at"),
    ({"iat": lambda now: now + 120}, "id_token_issued_at"),
    ({"iat": lambda now: now - 1_000}, "id_token_issued_at"),
    ({"iat": "now"}, "id_token_issued_at"),
    ({"iat": float("nan")}, "id_token_issued_at"),
    ({"nbf": lambda now: now + 120}, "id_token_not_before"),
    ({"nbf": "now"}, "id_token_not_before"),
    ({"nbf": float("nan")}, "id_token_not_before"),
    ({"nonce": None}, "id_token_nonce"),
    ({"nonce": "another"}, "id_token_nonce"),
    ({"nonce": [NONCE]}, "id_token_nonce"),
    ({"nonce": ""}, "id_token_nonce"),
    ({"at_hash": left_half("another")}, "id_token_at_hash"),
    ({"at_hash": 1}, "id_token_at_hash"),
    ({"s_hash": left_half("another")}, "id_token_s_hash"),
    ({"s_hash": [left_half(STATE)]}, "id_token_s_hash"),
    ({"sub": None}, "id_token_subject"),
    ({"sub": ""}, "id_token_subject"),
    ({"sub": 1}, "id_token_subject"),
    ({"sub": "a" * 256}, "id_token_subject"),
    ({"sub": "a\x00"}, "id_token_subject"),
]


@pytest.mark.parametrize(("changes", "code"), BAD_CLAIMS)
async def test_a_claim_that_is_wrong_or_missing_is_refused(issuer: Issuer, changes: dict[str, Any], code: str) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(**changes), issuer.key)) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": float("nan")}, "id_token_expired"),
        ({"exp": 10**400}, "id_token_expired"),
        ({"iat": 10**400}, "id_token_issued_at"),
        ({"nbf": -(10**400)}, "id_token_not_before"),
        ({"sub": "\ud800"}, "id_token_subject"),
        ({"nonce": "\ud800"}, "id_token_nonce"),
        ({"at_hash": "\ud800"}, "id_token_at_hash"),
    ],
)
async def test_an_extreme_claim_is_refused(issuer: Issuer, changes: dict[str, Any], code: str) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(**changes), issuer.key)) == code


async def test_the_id_token_of_a_refresh_is_accepted_without_nonce_and_state(issuer: Issuer) -> None:
    claims = issuer.claims(nonce=None, s_hash="whatever", at_hash="whatever")
    assert await issuer.accepts(signed(claims, issuer.key), EXPECTED_OF_A_REFRESH)


async def test_an_unsigned_token_is_refused(issuer: Issuer) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        assert await issuer.refusal_of(unsigned({"alg": algorithm}, issuer.claims())) == "id_token_algorithm"
    assert await issuer.refusal_of(unsigned({"alg": "none", "kid": "one"}, issuer.claims())) == "id_token_algorithm"


async def test_the_public_key_is_not_accepted_as_a_shared_secret(issuer: Issuer) -> None:
    document = issuer.key.as_dict(private=False)
    for secret in (issuer.key.as_pem(private=False), issuer.key.as_der(private=False), json.dumps(document).encode()):
        for algorithm, method in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            signing_input = encoded({"alg": algorithm, "kid": "one"}) + b"." + encoded(issuer.claims())
            forged = signing_input + b"." + encoded(hmac.digest(secret, signing_input, method))
            assert await issuer.refusal_of(forged.decode()) == "id_token_algorithm"


async def test_an_algorithm_that_is_not_on_the_list_is_refused(issuer: Issuer) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"alg": "RS512"})) == "id_token_algorithm"


async def test_the_algorithm_must_fit_the_key(issuer: Issuer) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"alg": "PS256"})) == "id_token_key"
    elliptic = ECKey.generate_key("P-256", {"kid": "one"})
    assert await issuer.refusal_of(signed(issuer.claims(), elliptic)) == "id_token_key"


async def test_other_allowed_algorithms_pass_with_keys_of_their_type(issuer: Issuer) -> None:
    issuer.publish(issuer.key, alg=None)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"alg": "PS256"}))
    elliptic = ECKey.generate_key("P-256", {"kid": "elliptic"})
    issuer.publish(elliptic)
    assert await issuer.accepts(signed(issuer.claims(), elliptic))


async def test_an_encryption_key_is_not_used_for_signatures(issuer: Issuer) -> None:
    issuer.publish(issuer.key, use="enc")
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_another_key_with_the_same_id_is_refused(issuer: Issuer, other_key: RSAKey) -> None:
    forged = signed(issuer.claims(), other_key, {"kid": "one"})
    assert await issuer.refusal_of(forged) == "id_token_signature"


async def test_an_unknown_key_is_refused_after_the_keys_were_fetched_again(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), other_key)) == "id_token_key"
    assert issuer.hostile.count("/jwks") == 2


async def test_a_key_in_the_token_is_not_trusted(issuer: Issuer, other_key: RSAKey) -> None:
    for header in (
        {"jwk": other_key.as_dict(private=False)},
        {"jku": f"{issuer.hostile.url}/evil"},
        {"x5u": f"{issuer.hostile.url}/evil"},
    ):
        forged = signed(issuer.claims(), other_key, {"kid": "one", **header})
        assert await issuer.refusal_of(forged) in ("id_token_signature", "id_token_malformed")
    assert issuer.hostile.count("/evil") == 0


async def test_without_a_key_id_the_only_key_is_used(issuer: Issuer) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": None}))


@pytest.mark.parametrize("kid", [None, ""])
async def test_without_a_key_id_each_suitable_key_is_tried(issuer: Issuer, other_key: RSAKey, kid: str | None) -> None:
    unpublished = RSAKey.generate_key(2048)
    issuer.publish(ECKey.generate_key("P-256"), ECKey.generate_key("P-384"), other_key, issuer.key)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": kid}))
    assert await issuer.accepts(signed(issuer.claims(), other_key, {"kid": kid}))
    assert await issuer.refusal_of(signed(issuer.claims(), unpublished, {"kid": kid})) == "id_token_signature"


async def test_a_key_that_is_published_twice_is_used(issuer: Issuer) -> None:
    issuer.publish(issuer.key, issuer.key)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": None}))


async def test_two_keys_with_the_same_id_are_both_tried(issuer: Issuer, other_key: RSAKey) -> None:
    issuer.publish(issuer.key, other_key, kid="one")
    for key in (issuer.key, other_key):
        assert await issuer.accepts(signed(issuer.claims(), key, {"kid": "one"}))


async def test_a_key_that_is_published_without_an_id_is_used_for_a_token_that_has_one(issuer: Issuer) -> None:
    issuer.publish(issuer.key, kid=None)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": "one"}))


@pytest.mark.parametrize("kid", ["one", None])
async def test_a_key_that_was_replaced_under_its_old_id_is_found(
    issuer: Issuer, other_key: RSAKey, kid: str | None
) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": kid}))
    issuer.publish(other_key, kid=kid)
    assert await issuer.accepts(signed(issuer.claims(), other_key, {"kid": kid}))
    assert issuer.hostile.count("/jwks") == 2
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"kid": kid})) == "id_token_signature"


async def test_invalid_signatures_cause_one_request_for_the_keys(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    forged = [issuer.refusal_of(signed(issuer.claims(), other_key, {"kid": "one"})) for _ in range(20)]
    assert set(await asyncio.gather(*forged)) == {"id_token_signature"}
    assert issuer.hostile.count("/jwks") == 2


async def test_a_withdrawn_key_is_refused_after_five_minutes_at_the_latest(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    issuer.publish(other_key)
    issuer.clock.advance(301)
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_a_rotated_key_is_found(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    issuer.publish(other_key)
    issuer.clock.advance(2)
    assert await issuer.accepts(signed(issuer.claims(), other_key))
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_an_outage_of_the_jwks_is_not_a_refusal_of_the_id_token(issuer: Issuer) -> None:
    issuer.hostile.replies["/jwks"] = json_reply({}, 503)
    with pytest.raises(BankError):
        await issuer.accepts(signed(issuer.claims(), issuer.key))


Forge = Callable[[Issuer], str]


@pytest.mark.parametrize(
    "forge",
    [
        lambda _: "",
        lambda _: "a.b",
        lambda _: "a.b.c",
        lambda _: "....",
        lambda issuer: signed(issuer.claims(), issuer.key) + ".x",
        lambda issuer: unsigned([], issuer.claims()),
        lambda issuer: unsigned(["alg"], issuer.claims()),
        lambda issuer: unsigned("alg", issuer.claims()),
        lambda issuer: unsigned(b"\xff", issuer.claims()),
        lambda issuer: unsigned(b"", issuer.claims()),
        lambda issuer: signed([1], issuer.key),
        lambda issuer: signed(b"not JSON", issuer.key),
        lambda issuer: signed(b"\xff", issuer.key),
        lambda issuer: signed(b"", issuer.key),
        lambda issuer: unsigned({"alg": None}, issuer.claims()),
        lambda issuer: unsigned({"kid": "one"}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": ["one"]}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one", "b64": False}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims(), b"\x00" * 256),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims(), b""),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims()) + "\u00e9",
        lambda issuer: "\ud800." + unsigned({"alg": "RS256", "kid": "one"}, issuer.claims()),
        lambda issuer: signed(b"[" * 100_000, issuer.key),
        lambda issuer: unsigned(b"[" * 100_000, {}),
    ],
    ids=itertools.count(),
)
async def test_any_text_is_refused_with_a_code(issuer: Issuer, forge: Forge) -> None:
    assert (await issuer.refusal_of(forge(issuer))).startswith("id_token_")


@pytest.mark.parametrize("parameters", [{"ver": "1.0"}, {"x5c": ["x" * 2_000]}])
async def test_unknown_header_parameters_are_ignored(issuer: Issuer, parameters: dict[str, object]) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, parameters)) == "the user"


@pytest.mark.parametrize("algorithm", [["RS256"], {}])
async def test_an_algorithm_that_is_not_a_string_is_refused(issuer: Issuer, algorithm: object) -> None:
    token = unsigned({"alg": algorithm, "kid": "one"}, issuer.claims())
    assert (await issuer.refusal_of(token)).startswith("id_token_")


async def test_a_changed_claim_invalidates_the_signature(issuer: Issuer) -> None:
    header, _, signature = signed(issuer.claims(), issuer.key).split(".")
    forged = f"{header}.{encoded(issuer.claims(sub='another')).decode()}.{signature}"
    assert await issuer.refusal_of(forged) == "id_token_signature"


def test_the_subject_of_a_refresh_is_read_without_fetching_keys(key: RSAKey) -> None:
    assert unverified_subject(SecretStr(signed({"sub": "the user"}, key))) == "the user"


@pytest.mark.parametrize("text", ["", "a.b.c", unsigned({"alg": "RS256"}, []), unsigned({"alg": "RS256"}, {"sub": 1})])
def test_an_unreadable_subject_is_none(text: str) -> None:
    assert unverified_subject(SecretStr(text)) is None
