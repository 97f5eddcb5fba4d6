"""OpenTelemetry: from the caller to the bank and the database, where it is asked for, and without a secret."""

import pytest
from pydantic import SecretStr

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.collector import CollectedSpan, Collector
from tests.support.hostile import HostileServer, json_reply
from tests.support.journey import log_in

TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{CALLER_SPAN}-01", "tracestate": "shop=1"}
QUERY = "POST /v1/connections/{connection_id}/graphql"


@pytest.fixture
async def traced(collected: Collector, brokers: BrokerFactory, database_url: SecretStr) -> Broker:
    return await brokers(database_url=database_url)


@pytest.fixture
async def api(traced: Broker, sign_up: ApiFactory) -> Api:
    return await sign_up(broker=traced)


def named(spans: list[CollectedSpan], name: str) -> CollectedSpan:
    [found] = [span for span in spans if span.name == name]
    return found


async def test_a_query_is_one_trace_from_its_caller_to_the_bank(
    collected: Collector, brokers: BrokerFactory, sign_up: ApiFactory, upstream: HostileServer
) -> None:
    broker = await brokers(stitch_graphql_url=f"{upstream.url}/graphql")
    api = await sign_up(broker=broker)
    connection = await broker.rows.insert(tenant=api.tenant)
    upstream.replies["/graphql"] = json_reply({"data": {}})
    response = await api.query(connection.id, headers=TRACED)
    spans = await collected.wait_for_trace(TRACE, until=QUERY)
    request = named(spans, QUERY)
    assert (request.kind, request.parent_id, request.failed) == ("SERVER", CALLER_SPAN, False)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/connections/{connection_id}/graphql",
        "http.response.status_code": 200,
        "broker.request_id": response.headers["x-request-id"],
        "broker.caller_id": api.caller.id,
    }
    assert request.resource["service.name"] == "stitch-token-broker"
    to_bank = named(spans, "POST graphql")
    assert (to_bank.kind, to_bank.parent_id) == ("CLIENT", request.id)
    assert to_bank.attributes["http.response.status_code"] == 200
    [(_, received, _)] = upstream.received
    assert received["traceparent"] == f"00-{TRACE}-{to_bank.id}-01"
    assert received["tracestate"] == "shop=1"


async def test_the_trace_of_a_query_shows_the_refresh_that_it_waited_for(
    collected: Collector, api: Api, traced: Broker, bank: SandboxClient
) -> None:
    connection = await traced.rows.link(bank, tenant=api.tenant)
    await bank.control("expire")
    assert (await api.query(connection.id, headers=TRACED)).status_code == 200
    spans = await collected.wait_for_trace(TRACE, until=QUERY)
    refused, repeated = [span for span in spans if span.name == "POST graphql"]
    assert refused.failed
    assert not repeated.failed
    refresh = named(spans, "refresh")
    assert refresh.attributes == {"broker.connection_id": connection.id, "broker.cause": "rejected"}
    assert named(spans, "POST token").parent_id == refresh.id
    assert named(spans, "wait for refresh").parent_id == named(spans, QUERY).id
    saved = [span for span in spans if span.name == "transaction" and span.parent_id == refresh.id]
    statements = [span for span in spans if span.parent_id in {one.id for one in saved}]
    assert {"UPDATE connections", "INSERT audit_events"} <= {span.name for span in statements}
    assert all(span.attributes["db.system.name"] == "postgresql" for span in (*saved, *statements))


async def test_a_failure_is_named_but_its_content_is_not_quoted(
    collected: Collector, api: Api, traced: Broker, bank: SandboxClient
) -> None:
    connection = await traced.rows.link(bank, tenant=api.tenant)
    await bank.set_faults(token={"status": 503})
    response = await api.post(f"/v1/connections/{connection.id}/refresh", headers=TRACED)
    spans = await collected.wait_for_trace(TRACE, until="POST /v1/connections/{connection_id}/refresh")
    request = named(spans, "POST /v1/connections/{connection_id}/refresh")
    assert (request.failed, request.attributes["error.type"]) == (True, str(response.status_code))
    assert named(spans, "POST token").attributes["error.type"] == "503"
    assert named(spans, "refresh").attributes["error.type"] == response.json()["code"]


async def test_an_unsampled_trace_is_not_exported_and_the_bank_is_told_so(
    collected: Collector, brokers: BrokerFactory, sign_up: ApiFactory, upstream: HostileServer
) -> None:
    broker = await brokers(stitch_graphql_url=f"{upstream.url}/graphql")
    api = await sign_up(broker=broker)
    connection = await broker.rows.insert(tenant=api.tenant)
    upstream.replies["/graphql"] = json_reply({"data": {}})
    await api.query(connection.id, headers={"traceparent": f"00-{TRACE}-{CALLER_SPAN}-00"})
    await api.query(connection.id, headers={"traceparent": f"00-{'ab' * 16}-{CALLER_SPAN}-01"})
    await collected.wait_for_trace("ab" * 16, until=QUERY)
    assert TRACE not in {span.trace_id for span in collected.spans}
    first = upstream.received[0][1]["traceparent"]
    assert first.startswith(f"00-{TRACE}-")
    assert first.endswith("-00")


async def test_probes_are_not_traced(collected: Collector, api: Api) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await api.get(path, headers=TRACED)
    await api.get("/v1/connections", headers=TRACED)
    spans = await collected.wait_for_trace(TRACE, until="GET /v1/connections")
    assert [span.name for span in spans if span.kind == "SERVER"] == ["GET /v1/connections"]


async def test_the_trace_of_a_login_contains_no_url_and_no_parameter(
    collected: Collector, api: Api, traced: Broker, bank: SandboxClient
) -> None:
    async with traced.new_browser() as browser:
        session, _ = await log_in(api, bank, browser)
        assert session["status"] == "completed"
    (await api.get(f"/v1/sessions/{session['id']}", headers=TRACED)).raise_for_status()
    await collected.wait_for_trace(TRACE, until="GET /v1/sessions/{session_id}")
    names = {span.name for span in collected.spans}
    assert {"GET /callback", "GET /connect/{ticket}", "POST token", "GET jwks"} <= names
    for span in collected.spans:
        assert not {name for name in span.attributes if name.startswith(("url.", "client.", "exception."))}
        assert set(span.attributes) <= {
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "db.system.name",
            "db.query.text",
            "error.type",
            "broker.request_id",
            "broker.caller_id",
            "broker.connection_id",
            "broker.cause",
        }
