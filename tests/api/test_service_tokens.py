"""A caller with a signed token instead of an API key, over HTTP."""

import pytest
from joserfc.jwk import RSAKey

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.oidc.issuer import signed
from tests.support.answers import assert_graphql_refusal, assert_problem
from tests.support.broker import Api
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, json_reply
from tests.support.logs import Logs

EVERYTHING = "sessions:write sessions:read connections:read graphql:query audit:read"


class Service:
    """An internal service with an issuer for a badge."""

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
    answer = await client.post("/v1/sessions", json={"user_id": "u"}, headers=service.headers())
    assert answer.status_code == 201, answer.text
    session = answer.json()
    assert (await client.session(session["id"]))["id"] == session["id"]
    assert_problem(await stranger.get(f"/v1/sessions/{session['id']}"), 404, "session_not_found")
    events = (await client.get("/v1/audit", headers=service.headers())).json()["items"]
    assert (events[-1]["action"], events[-1]["actor"]) == ("session.started", "svc_billing")
    assert "svc_billing" in {line.get("caller") for line in await logs.access_lines(4)}


async def test_a_service_may_do_what_its_token_says_and_no_more(client: Api, service: Service) -> None:
    headers = service.headers("connections:read fly")
    assert (await client.get("/v1/connections", headers=headers)).status_code == 200
    assert_problem(await client.get("/v1/audit", headers=headers), 403, "permission_denied")
    answer = await client.query("con_unknown", headers=headers)
    assert_graphql_refusal(answer, 403, "PERMISSION_DENIED")
    answer = await client.query("con_unknown", headers=service.headers())
    assert_graphql_refusal(answer, 404, "CONNECTION_NOT_FOUND")


async def test_a_refused_token_is_told_and_never_shown(client: Api, service: Service, logs: Logs) -> None:
    headers = service.headers(lifetime=-100)
    problem = assert_problem(await client.get("/v1/connections", headers=headers), 401, "service_token_expired")
    refusal = await client.query("con_unknown", headers=headers)
    assert assert_graphql_refusal(refusal, 401, "UNAUTHORIZED_CALLER")["reason"] == "service_token_expired"
    assert refusal.headers["www-authenticate"] == 'Bearer realm="broker"'
    for part in headers["authorization"].removeprefix("Bearer ").split("."):
        assert part not in str(problem) + refusal.text + logs.text


async def test_without_the_issuers_keys_the_broker_says_that_it_cannot_tell(
    client: Api, service: Service, hostile: HostileServer
) -> None:
    hostile.replies["/jwks"] = json_reply({}, 503)
    answer = await client.get("/v1/connections", headers=service.headers())
    assert_problem(answer, 503, "service_token_keys_unavailable")
    assert answer.headers["retry-after"] == "1"
    refusal = await client.query("con_unknown", headers=service.headers())
    assert_graphql_refusal(refusal, 503, "BROKER_UNAVAILABLE")
