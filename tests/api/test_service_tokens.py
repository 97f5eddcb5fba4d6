"""A caller with a signed token instead of an API key, over HTTP."""

import pytest
from joserfc.jwk import RSAKey

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.oidc.issuer import signed
from tests.support.broker import Api
from tests.support.clock import AdjustableClock
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.hostile import HostileServer, json_reply
from tests.support.logs import Logs

EVERYTHING = "sessions:write sessions:read connections:read graphql:query audit:read"


class Service:
    """An internal service whose token comes from its own issuer."""

    def __init__(self, issuer: HostileServer, tenant: str) -> None:
        self._issuer = issuer
        self._tenant = tenant
        self._key = RSAKey.generate_key(2048, {"kid": "one"})
        issuer.announce()
        issuer.replies["/jwks"] = json_reply({"keys": [self._key.as_dict(private=False)]})

    def headers(self, permissions: str = EVERYTHING, *, lifetime: int = 300) -> dict[str, str]:
        now = int(AdjustableClock().now().timestamp())
        claims = {"iss": self._issuer.url, "aud": "broker", "sub": "billing", "iat": now, "exp": now + lifetime}
        claims |= {"tenant": self._tenant, "permissions": permissions}
        return {"authorization": f"Bearer {signed(claims, self._key)}"}


@pytest.fixture
async def client(brokers: BrokerFactory, sign_up: ApiFactory, hostile: HostileServer) -> Api:
    """A caller with a key, at a broker that takes tokens too."""
    return await sign_up(broker=await brokers(service_token_issuer=hostile.url, service_token_audience="broker"))


@pytest.fixture
def service(hostile: HostileServer, client: Api) -> Service:
    """A service of the same tenant as `client`."""
    return Service(hostile, client.tenant)


async def test_a_service_works_within_its_tenant_and_the_audit_names_it(
    client: Api, stranger: Api, service: Service, logs: Logs
) -> None:
    response = await client.post("/v1/sessions", json={"user_id": "u"}, headers=service.headers())
    assert response.status_code == 201, response.text
    session = response.json()
    assert (await client.session(session["id"]))["id"] == session["id"]
    assert_problem(await stranger.get(f"/v1/sessions/{session['id']}"), 404, "session_not_found")
    events = (await client.get("/v1/audit", headers=service.headers())).json()["items"]
    assert (events[-1]["action"], events[-1]["actor"]) == ("session.started", "svc_billing")
    assert "svc_billing" in {line.get("caller") for line in await logs.access_lines(4)}


async def test_a_service_has_the_permissions_of_its_token_only(client: Api, service: Service) -> None:
    headers = service.headers("connections:read fly")
    assert (await client.get("/v1/connections", headers=headers)).status_code == 200
    assert_problem(await client.get("/v1/audit", headers=headers), 403, "permission_denied")
    response = await client.query("con_unknown", headers=headers)
    assert_graphql_error(response, 403, "PERMISSION_DENIED")
    response = await client.query("con_unknown", headers=service.headers())
    assert_graphql_error(response, 404, "CONNECTION_NOT_FOUND")


async def test_the_reason_for_rejecting_a_token_is_returned_but_never_the_token(
    client: Api, service: Service, logs: Logs
) -> None:
    headers = service.headers(lifetime=-100)
    problem = assert_problem(await client.get("/v1/connections", headers=headers), 401, "service_token_expired")
    refusal = await client.query("con_unknown", headers=headers)
    assert assert_graphql_error(refusal, 401, "UNAUTHORIZED_CALLER")["reason"] == "service_token_expired"
    assert refusal.headers["www-authenticate"] == 'Bearer realm="broker"'
    for part in headers["authorization"].removeprefix("Bearer ").split("."):
        assert part not in str(problem) + refusal.text + logs.text


async def test_without_the_issuers_keys_a_token_cannot_be_validated(
    client: Api, service: Service, hostile: HostileServer
) -> None:
    hostile.replies["/jwks"] = json_reply({}, 503)
    response = await client.get("/v1/connections", headers=service.headers())
    assert_problem(response, 503, "service_token_keys_unavailable")
    assert response.headers["retry-after"] == "1"
    refusal = await client.query("con_unknown", headers=service.headers())
    assert_graphql_error(refusal, 503, "BROKER_UNAVAILABLE")
