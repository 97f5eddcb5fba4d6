from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.errors import BankRateLimited, BankRequestRejected, BankResponseInvalid, InvalidClient
from app.oidc.authorization import AuthorizationRequest, new_authorization_request
from app.oidc.authorization_url import FrontChannel
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import ClientSecret, PrivateKeyJwt
from app.oidc.provider import EndpointOverrides, Extensions, Provider, Use
from sandbox.browser import log_in_and_decide
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS
from tests.support.clock import SteerableClock
from tests.support.hostile import HostileServer, json_reply

SECRET = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_basic")


def new_request() -> AuthorizationRequest:
    return new_authorization_request(client_id=CLIENT_ID, redirect_uri=REDIRECT_URIS[0], scopes=["openid", "accounts"])


def front_channel_of(
    client: httpx.AsyncClient,
    clock: SteerableClock,
    issuer: str,
    *,
    par: Use = "auto",
    overrides: EndpointOverrides | None = None,
) -> FrontChannel:
    provider = Provider(
        client,
        clock,
        issuer=issuer,
        overrides=overrides or EndpointOverrides(),
        extensions=Extensions(par=par),
        timeout=10,
        is_allowed=lambda _: True,
    )
    return FrontChannel(BackChannel(client, provider, SECRET, clock), client_id=CLIENT_ID, timeout=10)


@pytest.fixture
def front_channel(client: httpx.AsyncClient, clock: SteerableClock, bank_url: str) -> FrontChannel:
    return front_channel_of(client, clock, bank_url)


def query_of(url: SecretStr) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url.get_secret_value()).query)


async def test_without_pushed_requests_all_parameters_go_through_the_browser(
    bank: SandboxClient, bank_url: str, front_channel: FrontChannel
) -> None:
    request = new_request()
    address = await front_channel.address_of(request.parameters)
    assert not address.is_pushed
    assert address.url.get_secret_value() == f"{bank_url}/connect/authorize?{request.parameters.get_secret_value()}"


async def test_a_query_of_the_endpoint_is_kept(client: httpx.AsyncClient, clock: SteerableClock) -> None:
    endpoint = "https://bank.example/authorize?tenant=1"
    overrides = EndpointOverrides(endpoint, "https://bank.example/token", None, "https://bank.example/jwks")
    front_channel = front_channel_of(client, clock, "https://bank.example", overrides=overrides)
    address = await front_channel.address_of(new_request().parameters)
    assert query_of(address.url)[:2] == [("tenant", "1"), ("client_id", CLIENT_ID)]


async def test_where_it_is_announced_the_browser_carries_a_reference_only(
    bank: SandboxClient, front_channel: FrontChannel
) -> None:
    await bank.set_faults(pushed_requests="required")
    request = new_request()
    address = await front_channel.address_of(request.parameters)
    assert address.is_pushed
    assert [name for name, _ in query_of(address.url)] == ["client_id", "request_uri"]
    location = await log_in_and_decide(bank.http, address.url.get_secret_value())
    assert ("state", request.state.get_secret_value()) in parse_qsl(urlsplit(location).query)
    assert (await bank.ledger()).totals.pushed_requests == 1


async def test_the_same_request_may_be_pushed_again(bank: SandboxClient, front_channel: FrontChannel) -> None:
    await bank.set_faults(pushed_requests="offered")
    parameters = new_request().parameters
    addresses = [await front_channel.address_of(parameters) for _ in range(2)]
    await bank.control("lapse-pushed-requests")
    addresses.append(await front_channel.address_of(parameters))
    assert len({address.url.get_secret_value() for address in addresses}) == 3
    await log_in_and_decide(bank.http, addresses[2].url.get_secret_value())


async def test_off_means_never(
    client: httpx.AsyncClient, clock: SteerableClock, bank: SandboxClient, bank_url: str
) -> None:
    await bank.set_faults(pushed_requests="offered")
    address = await front_channel_of(client, clock, bank_url, par="off").address_of(new_request().parameters)
    assert not address.is_pushed


async def test_on_without_an_endpoint_says_what_to_set(
    client: httpx.AsyncClient, clock: SteerableClock, bank: SandboxClient, bank_url: str
) -> None:
    with pytest.raises(BankResponseInvalid, match="set BROKER_STITCH_PUSHED_AUTHORIZATION_REQUEST_ENDPOINT"):
        await front_channel_of(client, clock, bank_url, par="on").address_of(new_request().parameters)


async def test_an_endpoint_in_the_settings_is_used_though_it_is_not_announced(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    hostile.announce()
    hostile.replies["/par"] = json_reply({"request_uri": "urn:x", "expires_in": 60}, 201)
    overrides = EndpointOverrides(pushed_authorization_request_endpoint=f"{hostile.url}/par")
    front_channel = front_channel_of(client, clock, hostile.url, overrides=overrides)
    address = await front_channel.address_of(new_request().parameters)
    assert query_of(address.url) == [("client_id", CLIENT_ID), ("request_uri", "urn:x")]


@pytest.mark.parametrize("pushed_requests", ["none", "required"])
async def test_an_assertion_is_for_the_token_endpoint_and_with_pushed_requests_for_the_issuer(
    client: httpx.AsyncClient,
    clock: SteerableClock,
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
    provider = Provider(
        client, clock, issuer=hostile.url, overrides=EndpointOverrides(), timeout=10, is_allowed=lambda _: True
    )
    back_channel = BackChannel(client, provider, key, clock)
    await FrontChannel(back_channel, client_id=CLIENT_ID, timeout=10).address_of(new_request().parameters)
    await back_channel.post(f"{hostile.url}/token", {}, endpoint="token", deadline=10)
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
async def test_an_assertion_is_signed_as_documented_or_else_as_announced(
    client: httpx.AsyncClient,
    clock: SteerableClock,
    hostile: HostileServer,
    client_key: RSAKey,
    *,
    announced: object,
    algorithm: str,
) -> None:
    hostile.announce(token_endpoint_auth_signing_alg_values_supported=announced)
    provider = Provider(
        client, clock, issuer=hostile.url, overrides=EndpointOverrides(), timeout=10, is_allowed=lambda _: True
    )
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
async def test_a_refusal_is_told_for_what_it_is(
    bank: SandboxClient, front_channel: FrontChannel, fault: dict[str, object], error: type[Exception]
) -> None:
    await bank.set_faults(pushed_requests="required", par=fault)  # type: ignore[arg-type]
    with pytest.raises(error):
        await front_channel.address_of(new_request().parameters)


@pytest.mark.parametrize(
    "body",
    [{}, {"request_uri": ""}, {"request_uri": 1}, {"request_uri": "\ud800"}, {"request_uri": "u" * 9_000}, []],
    ids=["nothing", "empty", "number", "half a character", "long", "list"],
)
async def test_an_answer_without_a_reference_is_none(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer, body: object
) -> None:
    hostile.announce(pushed_authorization_request_endpoint=f"{hostile.url}/par")
    hostile.replies["/par"] = json_reply(body, 201)
    with pytest.raises(BankResponseInvalid, match="request_uri"):
        await front_channel_of(client, clock, hostile.url).address_of(new_request().parameters)
