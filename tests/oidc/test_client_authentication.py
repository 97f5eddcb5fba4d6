from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr

from app.errors import ConfigurationError, InvalidClient
from app.oidc.client_authentication import (
    ClientAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    load_private_key,
)
from app.oidc.provider_metadata import ProviderMetadata
from app.oidc.token_endpoint import TokenEndpoint
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.oidc.providers import back_channel_for
from tests.support.clock import AdjustableClock

TOKEN_URL = "https://bank.example/connect/token"
METADATA = ProviderMetadata(
    issuer="https://bank.example",
    authorization_endpoint="https://bank.example/connect/authorize",
    token_endpoint=TOKEN_URL,
    jwks_uri="https://bank.example/jwks",
)


@pytest.fixture
def key_file(client_key: RSAKey, tmp_path: Path) -> Path:
    file = tmp_path / "client.pem"
    file.write_bytes(client_key.as_pem(private=True))
    return file


@pytest.fixture
def authentication(request: pytest.FixtureRequest, key_file: Path, clock: AdjustableClock) -> ClientAuthentication:
    if request.param == "private_key_jwt":
        return load_private_key(CLIENT_ID, key_file, "client-key", clock)
    return ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), request.param)


def token_endpoint_at(
    client: httpx.AsyncClient, clock: AdjustableClock, issuer: str, authentication: ClientAuthentication
) -> TokenEndpoint:
    return TokenEndpoint(back_channel_for(client, clock, issuer, authentication))


ALL_METHODS = pytest.mark.parametrize(
    "authentication", ["client_secret_post", "client_secret_basic", "private_key_jwt"], indirect=True
)


@ALL_METHODS
async def test_the_bank_accepts_every_method_repeatedly(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    bank: SandboxClient,
    bank_url: str,
    authentication: ClientAuthentication,
) -> None:
    endpoint = token_endpoint_at(client, clock, bank_url, authentication)
    tokens = await bank.link()
    refreshed = await endpoint.refresh(SecretStr(tokens["refresh_token"]), timeout_seconds=20)
    assert refreshed.refresh_token is not None
    await endpoint.revoke(refreshed.refresh_token, "refresh_token", timeout_seconds=20)
    assert (await bank.ledger()).totals.revocations == 1


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_a_wrong_client_secret_does_not_end_the_consent(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str, method: str
) -> None:
    authentication = ClientSecret(CLIENT_ID, SecretStr("wrong"), method)  # type: ignore[arg-type]
    tokens = await bank.link()
    with pytest.raises(InvalidClient):
        await token_endpoint_at(client, clock, bank_url, authentication).refresh(
            SecretStr(tokens["refresh_token"]), timeout_seconds=20
        )


def test_the_secret_is_sent_in_the_form_or_encoded_in_the_header_but_never_in_both() -> None:
    form: dict[str, str] = {}
    headers: dict[str, str] = {}
    ClientSecret("id", SecretStr("a+/="), "client_secret_post").apply(form, headers, METADATA)
    assert (form, headers) == ({"client_id": "id", "client_secret": "a+/="}, {})
    form.clear()
    ClientSecret("id:1", SecretStr("a +/="), "client_secret_basic").apply(form, headers, METADATA)
    # base64 of "id%3A1:a+%2B%2F%3D"
    assert (form, headers) == ({}, {"authorization": "Basic aWQlM0ExOmErJTJCJTJGJTNE"})


def test_an_assertion_has_the_claims_that_rfc_7523_requires(
    client_key: RSAKey, key_file: Path, clock: AdjustableClock
) -> None:
    authentication = load_private_key("id", key_file, None, clock)
    forms: list[dict[str, str]] = [{}, {}]
    for form in forms:
        authentication.apply(form, {}, METADATA)
    first, second = (jwt.decode(form["client_assertion"], client_key, algorithms=["RS256"]) for form in forms)
    assert forms[0]["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in forms[0]
    assert (first.header["alg"], first.header["kid"]) == ("RS256", client_key.thumbprint())
    assert (first.claims["iss"], first.claims["sub"], first.claims["aud"]) == ("id", "id", TOKEN_URL)
    assert first.claims["exp"] - first.claims["nbf"] == 60
    assert abs(first.claims["iat"] - clock.now().timestamp()) < 30
    assert first.claims["jti"] != second.claims["jti"]


def test_a_missing_key_file_is_named(tmp_path: Path, clock: AdjustableClock) -> None:
    with pytest.raises(ConfigurationError, match=r"BROKER_STITCH_PRIVATE_KEY_FILE.*not a readable RSA key"):
        load_private_key("id", tmp_path / "missing.pem", None, clock)


@pytest.mark.parametrize("content", [b"", b"planted-secret", b"\xff", ECKey.generate_key("P-256").as_pem()])
def test_a_file_without_an_rsa_key_is_refused_and_its_content_not_shown(
    tmp_path: Path, clock: AdjustableClock, content: bytes
) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_private_key("id", tmp_path / "key.pem", None, clock)
    assert "planted-secret" not in refused.value.detail


def test_a_public_key_is_refused(client_key: RSAKey, tmp_path: Path, clock: AdjustableClock) -> None:
    (tmp_path / "key.pem").write_bytes(client_key.as_pem(private=False))
    with pytest.raises(ConfigurationError, match="public key"):
        load_private_key("id", tmp_path / "key.pem", None, clock)


def test_secrets_are_not_shown_by_repr(client_key: RSAKey, clock: AdjustableClock) -> None:
    assert CLIENT_SECRET not in repr(ClientSecret("id", SecretStr(CLIENT_SECRET), "client_secret_post"))
    assert "RSAKey" not in repr(PrivateKeyJwt("id", client_key, "kid", clock))
