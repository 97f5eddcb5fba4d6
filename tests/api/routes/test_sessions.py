"""`/v1/sessions`: starting, listing and cancelling logins."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import PUBLIC_URL, Api
from tests.support.error_responses import assert_problem
from tests.support.eventually import eventually
from tests.support.journey import parameters_of

FIELDS = {
    *("id", "status", "user_id", "scopes", "authorization_url", "connect_url", "return_url", "connection_id"),
    *("error", "metadata", "created_at", "expires_at", "ended_at"),
}


async def test_a_new_session_has_every_field_and_a_location(api: Api, bank: SandboxClient) -> None:
    response = await api.post(
        "/v1/sessions",
        json={
            "user_id": "user-7",
            "scopes": ["openid", "accounts"],
            "return_url": "https://shop.example/done",
            "metadata": {"order": "1001", "nested": {"deep": [1, 2.5, None, True]}, "numbers": [0, 2**53, -1e-15]},
        },
    )
    session = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/sessions/{session['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert session.keys() == FIELDS
    assert session["status"] == "pending"
    assert session["user_id"] == "user-7"
    assert session["scopes"] == ["openid", "accounts"]
    assert session["return_url"] == "https://shop.example/done"
    assert session["metadata"] == {
        "order": "1001",
        "nested": {"deep": [1, 2.5, None, True]},
        "numbers": [0, 2**53, -1e-15],
    }
    assert session["connection_id"] is session["error"] is session["ended_at"] is None
    assert (await api.get(response.headers["location"])).json() == session


async def test_times_are_rfc_3339_in_utc(api: Api) -> None:
    session = await api.start()
    for name in ("created_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", session[name])
    created_at, expires_at = (datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at"))
    assert expires_at - created_at == timedelta(seconds=900)
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=5)


async def test_the_authorization_url_is_what_stitch_documents(api: Api, bank_url: str) -> None:
    url = (await api.start(scopes=["openid", "accounts", "offline_access"]))["authorization_url"]
    assert url.startswith(f"{bank_url}/connect/authorize?")
    parameters = parameters_of(url)
    secrets = {name: parameters.pop(name) for name in ("state", "nonce", "code_challenge")}
    assert parameters == {
        "client_id": CLIENT_ID,
        "scope": "openid accounts offline_access",
        "response_type": "code",
        "redirect_uri": f"{PUBLIC_URL}/callback",
        "code_challenge_method": "S256",
    }
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in secrets.values())
    assert len(set(secrets.values())) == 3
    assert "scope=openid%20accounts%20offline_access" in urlsplit(url).query


async def test_no_two_sessions_share_a_secret(api: Api) -> None:
    first, second = await api.start(), await api.start()
    for name in ("state", "nonce", "code_challenge"):
        assert parameters_of(first["authorization_url"])[name] != parameters_of(second["authorization_url"])[name]
    assert first["connect_url"] != second["connect_url"]


async def test_the_secrets_of_a_login_are_only_in_its_url(api: Api) -> None:
    response = await api.post("/v1/sessions", json={"user_id": "user-1"})
    parameters = parameters_of(response.json()["authorization_url"])
    without_url = response.text.replace(response.json()["authorization_url"], "")
    for name in ("state", "nonce", "code_challenge"):
        assert parameters[name] not in without_url
        assert parameters[name] not in str(response.headers)


async def test_the_connect_url_is_below_the_public_url(api: Api) -> None:
    assert re.fullmatch(rf"{PUBLIC_URL}/connect/[A-Za-z0-9_-]{{43}}", (await api.start())["connect_url"])


async def test_the_configured_scopes_are_the_default(api: Api) -> None:
    session = await api.start()
    assert session["scopes"] == ["openid", "accounts", "balances", "transactions", "offline_access"]
    assert parameters_of(session["authorization_url"])["scope"].split() == session["scopes"]


async def test_openid_is_always_requested(api: Api) -> None:
    assert (await api.start(scopes=["accounts", "accounts"]))["scopes"] == ["openid", "accounts"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("user_id", ""),
        ("user_id", None),
        ("user_id", "x" * 256),
        ("user_id", "nul\x00"),
        ("user_id", 7),
        ("scopes", ["two words"]),
        ("scopes", ['quo"te']),
        ("scopes", "openid"),
        ("scopes", ["x"] * 31),
        ("return_url", "x" * 2_001),
        ("connection_id", ""),
        ("require_confirmation", "perhaps"),
        ("metadata", {"large": "x" * 4_097}),
        ("metadata", {"nul": "\x00"}),
        ("metadata", ["a list"]),
        ("metadata", {"large": [1e300]}),
        ("metadata", {"large": {"whole": -(2**53) - 1}}),
        ("metadata", {"small": 1e-300}),
        ("unknown_member", True),
    ],
)
async def test_an_invalid_session_is_rejected(api: Api, member: str, value: object) -> None:
    response = await api.post("/v1/sessions", json={"user_id": "user-1", member: value})
    problem = assert_problem(response, 422, "invalid_request")
    assert problem["errors"][0]["location"].startswith(f"body.{member}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "user-1", "metadata": {"a": NaN}}',
        b'{"user_id": "user-1", "metadata": {"a": -Infinity}}',
        b'{"user_id": "user-1", "metadata": {"a": "\\ud800"}}',
        b'{"user_id": "user-1", "metadata": {"\\udfff": 1}}',
        b'{"user_id": "user-1", "scopes": ["\\ud800"]}',
        b'{"user_id": "user-1", "return_url": "https://shop.example/below/\\ud800"}',
        b'{"user_id": "user-1", "connection_id": "\\ud800"}',
        b'{"user_id": "user-1", "metadata": {"a": ' + b"[" * 1_500 + b"]" * 1_500 + b"}}",
        b'{"user_id": "user-1", "metadata": {"a": 1' + b"0" * 400 + b"}}",
    ],
    ids=lambda body: body[:60].decode(),
)
async def test_json_that_the_database_cannot_store_is_the_callers_error(api: Api, body: bytes) -> None:
    response = await api.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (201, 400, 422), response.text
    if response.status_code != 201:
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/done",
        "https://shop.example/below/",
        "https://shop.example/below/orders?id=7",
    ],
)
async def test_a_return_url_on_the_allow_list_is_accepted(api: Api, url: str) -> None:
    assert (await api.start(return_url=url))["return_url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/done",
        "https://shop.example/done/more",
        "https://shop.example/done?x=1",
        "http://shop.example/done",
        "https://shop.example:8443/below/a",
        "https://shop.example/below",
        "https://shop.example/below/../admin",
        "https://shop.example/below/%2e%2e/admin",
        "https://shop.example/below/a\\..\\b",
        "https://shop.example@evil.example/below/a",
        "https://evil.example#https://shop.example/below/a",
        "https://shop.example.evil.example/below/a",
        "//shop.example/below/a",
        "javascript:alert(1)",
        "https://shop.example/below/a\nSet-Cookie: b=c",
        "",
    ],
)
async def test_a_return_url_that_is_not_on_the_allow_list_is_rejected(api: Api, url: str) -> None:
    response = await api.post("/v1/sessions", json={"user_id": "user-1", "return_url": url})
    assert_problem(response, 422, "return_url_not_allowed")


class TestIdempotencyKey:
    async def test_the_same_request_twice_returns_the_same_session(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        first, second = [await api.post("/v1/sessions", json={"user_id": "u"}, headers=headers) for _ in range(2)]
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert first.headers["location"] == second.headers["location"]

    async def test_another_request_with_the_same_key_is_rejected(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        await api.post("/v1/sessions", json={"user_id": "one"}, headers=headers)
        response = await api.post("/v1/sessions", json={"user_id": "two"}, headers=headers)
        assert_problem(response, 422, "idempotency_key_reused")

    async def test_concurrent_requests_start_one_session(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        responses = await asyncio.gather(
            *(api.post("/v1/sessions", json={"user_id": "u"}, headers=headers) for _ in range(10))
        )
        assert {response.status_code for response in responses} == {201}
        assert len({response.json()["id"] for response in responses}) == 1
        assert len((await api.get("/v1/sessions")).json()["items"]) == 1

    async def test_callers_do_not_share_idempotency_keys(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        headers = {"idempotency-key": "order-1001"}
        first = await api.post("/v1/sessions", json={"user_id": "u"}, headers=headers)
        second = await other.post("/v1/sessions", json={"user_id": "u"}, headers=headers)
        assert first.json()["id"] != second.json()["id"]

    @pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
    async def test_a_malformed_key_is_rejected(self, api: Api, key: str) -> None:
        response = await api.post("/v1/sessions", json={"user_id": "u"}, headers={"idempotency-key": key})
        assert_problem(response, 422, "invalid_request")


class TestRenewal:
    async def test_only_a_connection_of_the_tenant_can_be_renewed(
        self, api: Api, stranger: Api, connection_id: str
    ) -> None:
        request = {"user_id": "user-1", "connection_id": connection_id}
        assert_problem(await stranger.post("/v1/sessions", json=request), 404, "connection_not_found")
        assert (await api.start(**request))["connection_id"] == connection_id

    async def test_a_connection_of_another_user_cannot_be_renewed(self, api: Api, connection_id: str) -> None:
        request = {"user_id": "user-2", "connection_id": connection_id}
        assert_problem(await api.post("/v1/sessions", json=request), 409, "user_mismatch")

    async def test_a_revoked_connection_cannot_be_renewed(self, api: Api, connection_id: str) -> None:
        await api.delete(f"/v1/connections/{connection_id}")
        request = {"user_id": "user-1", "connection_id": connection_id}
        assert_problem(await api.post("/v1/sessions", json=request), 409, "connection_revoked")


async def test_no_session_starts_while_the_bank_cannot_be_discovered(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
) -> None:
    await bank.set_faults(discovery={"status": 503})
    api = await sign_up(broker=await brokers())
    assert_problem(await api.post("/v1/sessions", json={"user_id": "u"}), 502, "bank_bad_answer")
    await bank.set_faults(discovery=None)

    async def starts() -> bool:
        return (await api.post("/v1/sessions", json={"user_id": "u"})).status_code == 201

    await eventually(starts)


async def test_null_is_the_same_as_leaving_an_optional_member_out(api: Api) -> None:
    members = ("scopes", "return_url", "connection_id", "require_confirmation", "metadata")
    session = await api.start(**dict.fromkeys(members))
    plain = await api.start()
    assert {name: session[name] for name in ("scopes", "metadata")} == {
        name: plain[name] for name in ("scopes", "metadata")
    }
    refused = await api.post("/v1/sessions", json={"user_id": None})
    assert refused.status_code == 422
