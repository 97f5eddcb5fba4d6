from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr

from app.errors import ConfigurationError, InvalidClient
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import (
    ClientAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    load_private_key,
)
from app.oidc.provider import EndpointOverrides, Provider, ProviderMetadata
from app.oidc.token_endpoint import TokenEndpoint
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.support.clock import SteerableClock

TOKEN_URL = "https://bank.example/connect/token"
METADATA = ProviderMetadata("https://bank.example", "https://bank.example/connect/authorize", TOKEN_URL, "")


@pytest.fixture
def key_file(client_key: RSAKey, tmp_path: Path) -> Path:
    file = tmp_path / "client.pem"
    file.write_bytes(client_key.as_pem(private=True))
    return file


@pytest.fixture
def authentication(request: pytest.FixtureRequest, key_file: Path, clock: SteerableClock) -> ClientAuthentication:
    if request.param == "private_key_jwt":
        return load_private_key(CLIENT_ID, key_file, "client-key", clock)
    return ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), request.param)


def endpoint_at(
    client: httpx.AsyncClient, clock: SteerableClock, issuer: str, authentication: ClientAuthentication
) -> TokenEndpoint:
    provider = Provider(
        client, clock, issuer=issuer, overrides=EndpointOverrides(), timeout=10, is_allowed=lambda _: True
    )
    return TokenEndpoint(BackChannel(client, provider, authentication, clock))


ALL_KINDS = pytest.mark.parametrize(
    "authentication", ["client_secret_post", "client_secret_basic", "private_key_jwt"], indirect=True
)


@ALL_KINDS
async def test_the_bank_accepts_every_kind_again_and_again(
    client: httpx.AsyncClient,
    clock: SteerableClock,
    bank: SandboxClient,
    bank_url: str,
    authentication: ClientAuthentication,
) -> None:
    endpoint = endpoint_at(client, clock, bank_url, authentication)
    tokens = await bank.link()
    fresh = await endpoint.refresh(SecretStr(tokens["refresh_token"]), deadline=20)
    assert fresh.refresh_token is not None
    await endpoint.revoke(fresh.refresh_token, "refresh_token", deadline=20)
    assert (await bank.ledger()).totals.revocations == 1


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_a_wrong_secret_is_the_brokers_fault_not_the_consents(
    client: httpx.AsyncClient, clock: SteerableClock, bank: SandboxClient, bank_url: str, method: str
) -> None:
    authentication = ClientSecret(CLIENT_ID, SecretStr("wrong"), method)  # type: ignore[arg-type]
    tokens = await bank.link()
    with pytest.raises(InvalidClient):
        await endpoint_at(client, clock, bank_url, authentication).refresh(
            SecretStr(tokens["refresh_token"]), deadline=20
        )


def test_the_secret_goes_into_the_form_or_encoded_into_the_header_never_both() -> None:
    form: dict[str, str] = {}
    headers: dict[str, str] = {}
    ClientSecret("id", SecretStr("a+/="), "client_secret_post").apply(form, headers, METADATA)
    assert (form, headers) == ({"client_id": "id", "client_secret": "a+/="}, {})
    form.clear()
    ClientSecret("id:1", SecretStr("a +/="), "client_secret_basic").apply(form, headers, METADATA)
    # base64 of "id%3A1:a+%2B%2F%3D"
    assert (form, headers) == ({}, {"authorization": "Basic aWQlM0ExOmErJTJCJTJGJTNE"})


def test_an_assertion_says_what_rfc_7523_wants(client_key: RSAKey, key_file: Path, clock: SteerableClock) -> None:
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


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path, clock: SteerableClock) -> None:
    with pytest.raises(ConfigurationError, match=r"BROKER_STITCH_PRIVATE_KEY_FILE.*not a readable RSA key"):
        load_private_key("id", tmp_path / "nowhere", None, clock)


@pytest.mark.parametrize("content", [b"", b"planted-secret", b"\xff", ECKey.generate_key("P-256").as_pem()])
def test_a_file_without_an_rsa_key_is_refused_without_its_content(
    tmp_path: Path, clock: SteerableClock, content: bytes
) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_private_key("id", tmp_path / "key.pem", None, clock)
    assert "planted-secret" not in refused.value.detail


def test_a_public_key_is_refused(client_key: RSAKey, tmp_path: Path, clock: SteerableClock) -> None:
    (tmp_path / "key.pem").write_bytes(client_key.as_pem(private=False))
    with pytest.raises(ConfigurationError, match="public key"):
        load_private_key("id", tmp_path / "key.pem", None, clock)


def test_no_secret_prints(client_key: RSAKey, clock: SteerableClock) -> None:
    assert CLIENT_SECRET not in repr(ClientSecret("id", SecretStr(CLIENT_SECRET), "client_secret_post"))
    assert "RSAKey" not in repr(PrivateKeyJwt("id", client_key, "kid", clock))
