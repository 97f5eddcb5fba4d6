from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.oidc.id_token import ExpectedClaims, unverified_subject, validate_id_token
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.oidc.issuer import (
    ACCESS_TOKEN,
    EXPECTED,
    EXPECTED_OF_A_REFRESH,
    NONCE,
    NULL,
    STATE,
    Issuer,
    left_half,
    signed,
    unsigned,
)
from tests.oidc.providers import provider_for
from tests.support.clock import AdjustableClock


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


def test_the_subject_of_a_refresh_is_read_without_fetching_keys(key: RSAKey) -> None:
    assert unverified_subject(SecretStr(signed({"sub": "the user"}, key))) == "the user"


@pytest.mark.parametrize("text", ["", "a.b.c", unsigned({"alg": "RS256"}, []), unsigned({"alg": "RS256"}, {"sub": 1})])
def test_an_unreadable_subject_is_none(text: str) -> None:
    assert unverified_subject(SecretStr(text)) is None
