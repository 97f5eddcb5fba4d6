import asyncio
import base64
import hashlib
import re
import time
import uuid
from urllib.parse import quote_plus

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET

ACCOUNT_NAMES = "{ user { bankAccounts { name } } }"


async def is_accepted(bank: SandboxClient, access_token: str) -> bool:
    return (await bank.query(access_token, ACCOUNT_NAMES)).status_code == 200


async def test_the_token_response_has_stitchs_format(bank: SandboxClient) -> None:
    tokens = await bank.link()
    assert tokens.keys() == {
        "id_token",
        "access_token",
        "expires_in",
        "token_type",
        "scope",
        "refresh_token",
    }
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", tokens["access_token"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", tokens["refresh_token"])
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)


async def test_no_refresh_token_is_issued_without_offline_access(bank: SandboxClient) -> None:
    assert "refresh_token" not in await bank.link("openid accounts")


async def test_a_second_use_of_a_code_revokes_its_tokens(bank: SandboxClient) -> None:
    login = await bank.log_in()
    tokens = (await bank.request_token(login.code_grant())).json()
    again = await bank.request_token(login.code_grant())
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await is_accepted(bank, tokens["access_token"])
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("name", "value"),
    [("code", "unknown"), ("redirect_uri", "http://localhost:8000/callback"), ("code_verifier", "x" * 43)],
)
async def test_a_code_is_bound_to_its_authorization_request(bank: SandboxClient, name: str, value: str) -> None:
    login = await bank.log_in()
    response = await bank.request_token(login.code_grant() | {name: value})
    assert response.json()["error"] == "invalid_grant"
    assert (await bank.request_token(login.code_grant())).status_code == 200


async def test_a_refresh_rotates_the_refresh_token(bank: SandboxClient) -> None:
    tokens = await bank.link()
    fresh = (await bank.refresh(tokens["refresh_token"])).json()
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert await is_accepted(bank, fresh["access_token"])
    (family,) = (await bank.ledger()).families
    assert [(token.generation, token.presented) for token in family.refresh_tokens] == [(1, 1), (2, 0)]
    digest = hashlib.sha256(fresh["refresh_token"].encode()).hexdigest()
    assert family.refresh_tokens[1].digest == digest


async def test_reuse_of_a_refresh_token_revokes_its_family(bank: SandboxClient) -> None:
    tokens = await bank.link()
    fresh = (await bank.refresh(tokens["refresh_token"])).json()
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await bank.refresh(fresh["refresh_token"])).json()["error"] == "invalid_grant"
    assert not await is_accepted(bank, fresh["access_token"])
    (family,) = (await bank.ledger()).families
    assert (family.alive, family.death_reason) == (False, "refresh_token_reused")


async def test_only_one_of_several_concurrent_refreshes_succeeds(bank: SandboxClient) -> None:
    tokens = await bank.link()
    responses = await asyncio.gather(*(bank.refresh(tokens["refresh_token"]) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 400, 400, 400, 400]


async def test_reuse_within_the_grace_period_keeps_the_family(bank: SandboxClient) -> None:
    await bank.set_faults(refresh_reuse_grace=60)
    tokens = await bank.link()
    first = (await bank.refresh(tokens["refresh_token"])).json()
    second = (await bank.refresh(tokens["refresh_token"])).json()
    assert await is_accepted(bank, first["access_token"])
    assert await is_accepted(bank, second["access_token"])


async def test_a_refresh_may_narrow_the_scope_but_not_widen_it(bank: SandboxClient) -> None:
    tokens = await bank.link("openid accounts balances offline_access")
    request = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    narrowed = (await bank.request_token(request | {"scope": "openid accounts"})).json()
    assert narrowed["scope"] == "openid accounts"
    request["refresh_token"] = narrowed["refresh_token"]
    assert (await bank.request_token(request | {"scope": "transactions"})).json()["error"] == "invalid_scope"


async def test_a_wrong_secret_is_invalid_client_and_keeps_the_tokens(bank: SandboxClient) -> None:
    tokens = await bank.link()
    wrong = {"client_secret": "wrong", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    response = await bank.request_token(wrong)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client")
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200


async def test_basic_authentication_accepts_only_form_encoded_parts(bank: SandboxClient) -> None:
    tokens = await bank.link()
    request = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for secret, status in ((CLIENT_SECRET, 400), (quote_plus(CLIENT_SECRET), 200)):
        credentials = base64.b64encode(f"{quote_plus(CLIENT_ID)}:{secret}".encode()).decode()
        response = await bank.http.post(
            "/connect/token", data=request, headers={"authorization": f"Basic {credentials}"}
        )
        assert response.status_code == status


async def test_a_signed_assertion_is_accepted_once(bank: SandboxClient, client_key: RSAKey, sandbox_url: str) -> None:
    tokens = await bank.link()
    claims: dict[str, object] = {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": f"{sandbox_url}/connect/token",
        "exp": int(time.time()) + 60,
        "nbf": int(time.time()),
        "jti": str(uuid.uuid4()),
    }
    request = {
        "grant_type": "refresh_token",
        "refresh_token": tokens["refresh_token"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    for changed, status in (({"aud": sandbox_url}, 400), ({"exp": 1}, 400), ({}, 200), ({}, 400)):
        assertion = jwt.encode({"alg": "RS256", "kid": "client-key"}, claims | changed, client_key)
        response = await bank.http.post("/connect/token", data=request | {"client_assertion": assertion})
        assert response.status_code == status
        if status == 400:
            assert response.json()["error"] == "invalid_client"


async def test_revoking_a_refresh_token_revokes_its_access_tokens(bank: SandboxClient) -> None:
    tokens = await bank.link()
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    response = await bank.http.post("/connect/revocation", data=client | {"token": tokens["refresh_token"]})
    assert (response.status_code, response.content) == (200, b"")
    assert not await is_accepted(bank, tokens["access_token"])
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_revoking_an_access_token_keeps_its_family(bank: SandboxClient) -> None:
    tokens = await bank.link()
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    for token in (tokens["access_token"], "unknown"):
        response = await bank.http.post("/connect/revocation", data=client | {"token": token})
        assert (response.status_code, response.content) == (200, b"")
    assert not await is_accepted(bank, tokens["access_token"])
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200


async def test_only_forms_and_known_grant_types_are_accepted(bank: SandboxClient) -> None:
    assert (await bank.http.post("/connect/token", json={})).json()["error"] == "invalid_request"
    assert (await bank.request_token({"grant_type": "password"})).json()["error"] == "unsupported_grant_type"
    repeated = await bank.http.post(
        "/connect/token",
        content="code=a&code=b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert repeated.json()["error"] == "invalid_request"


async def test_another_client_cannot_use_a_refresh_token(bank: SandboxClient) -> None:
    tokens = await bank.link()
    other = {"client_id": OTHER_CLIENT_ID, "client_secret": OTHER_CLIENT_SECRET}
    grant = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused = await bank.request_token(grant | other)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200
