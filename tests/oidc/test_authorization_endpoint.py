from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.errors import BankRateLimited, BankRequestRejected, BankResponseInvalid, InvalidClient
from app.oidc.authorization_endpoint import AuthorizationEndpoint
from app.oidc.authorization_request import AuthorizationRequest, new_authorization_request
from app.oidc.client_authentication import ClientSecret, PrivateKeyJwt
from app.oidc.provider_metadata import NO_OVERRIDES, EndpointOverrides, Extensions, ParUse
from sandbox.browser import log_in_and_decide
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS
from tests.oidc.providers import back_channel_for, provider_for
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, json_reply

CLIENT_SECRET_BASIC = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_basic")


def new_request() -> AuthorizationRequest:
    return new_authorization_request(client_id=CLIENT_ID, redirect_uri=REDIRECT_URIS[0], scopes=["openid", "accounts"])


def endpoint_at(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    issuer: str,
    *,
    par: ParUse = "auto",
    overrides: EndpointOverrides = NO_OVERRIDES,
) -> AuthorizationEndpoint:
    back_channel = back_channel_for(
        client, clock, issuer, CLIENT_SECRET_BASIC, extensions=Extensions(par=par), overrides=overrides
    )
    return AuthorizationEndpoint(back_channel, client_id=CLIENT_ID, timeout=10)


@pytest.fixture
def endpoint(client: httpx.AsyncClient, clock: AdjustableClock, bank_url: str) -> AuthorizationEndpoint:
    return endpoint_at(client, clock, bank_url)


def query_of(url: SecretStr) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url.get_secret_value()).query)


async def test_without_pushed_requests_the_browser_carries_all_parameters(
    bank: SandboxClient, bank_url: str, endpoint: AuthorizationEndpoint
) -> None:
    request = new_request()
    address = await endpoint.url_for(request.parameters)
    assert not address.is_pushed
    assert address.url.get_secret_value() == f"{bank_url}/connect/authorize?{request.parameters.get_secret_value()}"


async def test_the_query_of_the_endpoint_is_kept(client: httpx.AsyncClient, clock: AdjustableClock) -> None:
    overrides = EndpointOverrides(
        authorization_endpoint="https://bank.example/authorize?tenant=1",
        token_endpoint="https://bank.example/token",
        jwks_uri="https://bank.example/jwks",
    )
    endpoint = endpoint_at(client, clock, "https://bank.example", overrides=overrides)
    address = await endpoint.url_for(new_request().parameters)
    assert query_of(address.url)[:2] == [("tenant", "1"), ("client_id", CLIENT_ID)]


async def test_with_pushed_requests_the_browser_carries_only_a_reference(
    bank: SandboxClient, endpoint: AuthorizationEndpoint
) -> None:
    await bank.set_faults(pushed_requests="required")
    request = new_request()
    address = await endpoint.url_for(request.parameters)
    assert address.is_pushed
    assert [name for name, _ in query_of(address.url)] == ["client_id", "request_uri"]
    location = await log_in_and_decide(bank.http, address.url.get_secret_value())
    assert ("state", request.state.get_secret_value()) in parse_qsl(urlsplit(location).query)
    assert (await bank.ledger()).totals.pushed_requests == 1


async def test_the_same_request_may_be_pushed_again(bank: SandboxClient, endpoint: AuthorizationEndpoint) -> None:
    await bank.set_faults(pushed_requests="offered")
    parameters = new_request().parameters
    urls = [await endpoint.url_for(parameters) for _ in range(2)]
    await bank.control("lapse-pushed-requests")
    urls.append(await endpoint.url_for(parameters))
    assert len({url.url.get_secret_value() for url in urls}) == 3
    await log_in_and_decide(bank.http, urls[2].url.get_secret_value())


async def test_requests_are_never_pushed_if_the_setting_is_off(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str
) -> None:
    await bank.set_faults(pushed_requests="offered")
    address = await endpoint_at(client, clock, bank_url, par="off").url_for(new_request().parameters)
    assert not address.is_pushed


async def test_a_missing_endpoint_is_named_if_the_setting_is_on(
    client: httpx.AsyncClient, clock: AdjustableClock, bank: SandboxClient, bank_url: str
) -> None:
    with pytest.raises(BankResponseInvalid, match="set BROKER_STITCH_PUSHED_AUTHORIZATION_REQUEST_ENDPOINT"):
        await endpoint_at(client, clock, bank_url, par="on").url_for(new_request().parameters)


async def test_an_endpoint_in_the_settings_is_used_even_if_it_is_not_announced(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    hostile.announce()
    hostile.replies["/par"] = json_reply({"request_uri": "urn:x", "expires_in": 60}, 201)
    overrides = EndpointOverrides(pushed_authorization_request_endpoint=f"{hostile.url}/par")
    endpoint = endpoint_at(client, clock, hostile.url, overrides=overrides)
    address = await endpoint.url_for(new_request().parameters)
    assert query_of(address.url) == [("client_id", CLIENT_ID), ("request_uri", "urn:x")]


@pytest.mark.parametrize("pushed_requests", ["none", "required"])
async def test_the_audience_of_an_assertion_is_the_token_endpoint_or_with_pushed_requests_the_issuer(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    hostile: HostileServer,
    client_key: RSAKey,
    pushed_requests: str,
) -> None:
    is_pushed = pushed_requests == "required"
    par = f"{hostile.url}/par" if is_pushed else None
    hostile.announce(pushed_authorization_request_endpoint=par)
    hostile.replies["/par"] = json_reply({"request_uri": "urn:x"}, 201)
    hostile.replies["/token"] = json_reply({"access_token": "at"})
    key = PrivateKeyJwt(CLIENT_ID, client_key, "client-key", clock)
    back_channel = back_channel_for(client, clock, hostile.url, key)
    await AuthorizationEndpoint(back_channel, client_id=CLIENT_ID, timeout=10).url_for(new_request().parameters)
    await back_channel.post(f"{hostile.url}/token", {}, endpoint="token", timeout_seconds=10)
    audiences = [
        jwt.decode(dict(parse_qsl(body.decode()))["client_assertion"], client_key, algorithms=["RS256"]).claims["aud"]
        for path, _, body in hostile.received
        if path in ("/par", "/token")
    ]
    assert audiences == ([hostile.url] * 2 if is_pushed else [f"{hostile.url}/token"])


@pytest.mark.parametrize(
    ("announced", "algorithm"),
    [(None, "RS256"), (["RS256", "PS256"], "RS256"), (["PS256", "ES256"], "PS256"), ("PS256", "RS256")],
    ids=str,
)
async def test_an_assertion_is_signed_with_rs256_unless_only_ps256_is_announced(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    hostile: HostileServer,
    client_key: RSAKey,
    *,
    announced: object,
    algorithm: str,
) -> None:
    hostile.announce(token_endpoint_auth_signing_alg_values_supported=announced)
    provider = provider_for(client, clock, hostile.url)
    key, form = RSAKey.import_key(client_key.as_pem(private=True)), dict[str, str]()
    PrivateKeyJwt(CLIENT_ID, key, "client-key", clock).apply(form, {}, await provider.metadata())
    assert jwt.decode(form["client_assertion"], key, algorithms=[algorithm]).header["alg"] == algorithm


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"error": "invalid_request"}, BankRequestRejected),
        ({"error": "invalid_client"}, InvalidClient),
        ({"status": 429, "retry_after": 3}, BankRateLimited),
        ({"garbage": True}, BankResponseInvalid),
    ],
    ids=str,
)
async def test_each_failure_of_a_pushed_request_has_its_own_error(
    bank: SandboxClient, endpoint: AuthorizationEndpoint, fault: dict[str, object], error: type[Exception]
) -> None:
    await bank.set_faults(pushed_requests="required", par=fault)  # type: ignore[arg-type]
    with pytest.raises(error):
        await endpoint.url_for(new_request().parameters)


@pytest.mark.parametrize(
    "body",
    [{}, {"request_uri": ""}, {"request_uri": 1}, {"request_uri": "\ud800"}, {"request_uri": "u" * 9_000}, []],
    ids=["nothing", "empty", "number", "half a character", "long", "list"],
)
async def test_a_response_without_a_usable_request_uri_is_invalid(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer, body: object
) -> None:
    hostile.announce(pushed_authorization_request_endpoint=f"{hostile.url}/par")
    hostile.replies["/par"] = json_reply(body, 201)
    with pytest.raises(BankResponseInvalid, match=r"request_uri|not a JSON object"):
        await endpoint_at(client, clock, hostile.url).url_for(new_request().parameters)
