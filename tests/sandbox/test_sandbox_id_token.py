import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError
from joserfc.jwk import KeySet

from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID


async def verified_claims(bank: SandboxClient, id_token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set((await bank.http.get("/.well-known/openid-configuration/jwks")).json())
    return jwt.decode(id_token, keys, algorithms=["RS256"]).claims


def unverified_header(token: str) -> dict[str, Any]:
    encoded = token.split(".", maxsplit=1)[0]
    header: dict[str, Any] = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return header


def left_half_hash(value: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).decode().rstrip("=")


async def test_the_id_token_has_stitchs_claims(bank: SandboxClient, sandbox_url: str) -> None:
    login = await bank.log_in()
    tokens = (await bank.request_token(login.code_grant())).json()
    claims = await verified_claims(bank, tokens["id_token"])
    assert " ".join(claims) == "iss aud exp nbf iat nonce at_hash s_hash sid sub auth_time idp amr"
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (sandbox_url, CLIENT_ID, login.nonce)
    assert claims["exp"] - claims["iat"] == 300
    assert claims["at_hash"] == left_half_hash(tokens["access_token"])
    assert claims["s_hash"] == left_half_hash(login.state)
    assert claims["sub"] == await bank.sub_of("thandi")


async def test_a_refresh_returns_an_id_token_with_the_same_subject_and_no_nonce(bank: SandboxClient) -> None:
    tokens = await bank.link()
    fresh = (await bank.refresh(tokens["refresh_token"])).json()
    before, after = [await verified_claims(bank, response["id_token"]) for response in (tokens, fresh)]
    assert (after["sub"], after["auth_time"]) == (before["sub"], before["auth_time"])
    assert "nonce" not in after
    assert after["at_hash"] == left_half_hash(fresh["access_token"])


async def test_a_rotation_can_keep_or_drop_the_old_key(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.control("keys/rotate", keep_old=True)
    assert (await verified_claims(bank, tokens["id_token"]))["sub"]
    fresh = (await bank.refresh(tokens["refresh_token"])).json()
    assert unverified_header(fresh["id_token"])["kid"] != unverified_header(tokens["id_token"])["kid"]
    await bank.control("keys/rotate", keep_old=False)
    with pytest.raises(InvalidKeyIdError):
        await verified_claims(bank, fresh["id_token"])


async def test_claims_can_be_overridden_and_removed(bank: SandboxClient) -> None:
    await bank.set_faults(token={"claims": {"aud": "another", "nonce": None}})
    claims = await verified_claims(bank, (await bank.link())["id_token"])
    assert claims["aud"] == "another"
    assert "nonce" not in claims


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_an_id_token_can_have_an_insecure_algorithm(bank: SandboxClient, algorithm: str) -> None:
    await bank.set_faults(token={"algorithm": algorithm})
    id_token = (await bank.link())["id_token"]
    assert unverified_header(id_token)["alg"] == algorithm
    assert id_token.endswith(".") == (algorithm == "none")


async def test_an_id_token_can_be_signed_by_another_key(bank: SandboxClient) -> None:
    await bank.set_faults(token={"signing_key": "other"})
    with pytest.raises(BadSignatureError):
        await verified_claims(bank, (await bank.link())["id_token"])


async def test_a_key_id_can_be_missing_or_unknown(bank: SandboxClient) -> None:
    await bank.set_faults(token={"kid": "missing"})
    tokens = await bank.link()
    assert "kid" not in unverified_header(tokens["id_token"])
    await bank.set_faults(token={"kid": "unknown"})
    fresh = (await bank.refresh(tokens["refresh_token"])).json()
    published = (await bank.http.get("/.well-known/openid-configuration/jwks")).json()["keys"]
    assert unverified_header(fresh["id_token"])["kid"] not in {key["kid"] for key in published}
    assert all("d" not in key for key in published)
