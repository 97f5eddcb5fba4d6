"""`/healthz`, `/readyz`, `/metrics`."""

import re

import pytest
from pydantic import SecretStr

from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import bank_clients
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.eventually import eventually
from tests.support.journey import log_in
from tests.support.logs import Logs
from tests.support.relay import Relay


async def test_a_running_process_is_alive(browser: Browser) -> None:
    response = await browser.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_a_replica_with_its_database_is_ready(brokers: BrokerFactory) -> None:
    broker = await brokers()
    async with broker.new_browser() as browser:

        async def notifications_are_received() -> bool:
            checks: dict[str, str] = (await browser.get("/readyz")).json()["checks"]
            return checks["notifications"] == "ok"

        await eventually(notifications_are_received)
        response = await browser.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"database": "ok", "notifications": "ok"}}


async def test_a_storm_of_refusals_is_shown_and_does_not_stop_requests(
    brokers: BrokerFactory, database_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.maintenance.gauges._COUNT_PERIOD_SECONDS", 0.1)
    broker = await brokers(database_url=database_url)
    client = {"issuer": broker.settings.stitch_issuer, "client_id": broker.settings.stitch_client_id}
    async with broker.database.transaction() as transaction:
        await transaction.execute(bank_clients.insert().values(**client, storm_since=seconds_from_now(0)))
    async with broker.new_browser() as browser:

        async def is_shown() -> bool:
            response = await browser.get("/readyz")
            assert response.status_code == 200
            checks: dict[str, str] = response.json()["checks"]
            return checks.get("refreshes") == "suspended: invalid_grant_storm"

        await eventually(is_shown)
        assert sample((await browser.get("/metrics")).text, "broker_invalid_grant_storm") == 1


async def test_without_its_database_a_replica_is_alive_but_not_ready(brokers: BrokerFactory, relay: Relay) -> None:
    broker = await brokers(database_url=relay.url)
    async with broker.new_browser() as browser:
        assert (await browser.get("/readyz")).status_code == 200
        await relay.cut()
        response = await browser.get("/readyz")
        assert response.status_code == 503
        assert response.json()["status"] == "not ready"
        assert response.json()["checks"]["database"] == "unavailable"
        assert (await browser.get("/healthz")).status_code == 200
        await relay.restore()

        async def is_ready_again() -> bool:
            return (await browser.get("/readyz")).status_code == 200

        await eventually(is_ready_again)


def sample(text: str, name: str) -> float:
    """Return the value of a metric."""
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


async def test_requests_are_counted_by_route_and_never_by_id(
    api: Api, bank: SandboxClient, browser: Browser, broker: Broker
) -> None:
    before = (await browser.get("/metrics")).text
    session, _ = await log_in(api, bank, browser)
    connection_id = session["connection_id"]
    await api.query(connection_id)
    await api.post(f"/v1/connections/{connection_id}/refresh")
    await api.get("/v1/sessions/ses_unknown")
    await api.get(f"/unknown/{connection_id}")
    await api.request("PROPFIND", "/v1/sessions")
    await api.delete(f"/v1/connections/{connection_id}")
    response = await browser.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    after = response.text

    def increase_of(name: str) -> float:
        return sample(after, name) - sample(before, name)

    route = 'route="/v1/connections/{connection_id}/graphql"'
    assert increase_of(f'broker_http_requests_total{{method="POST",{route},status="200"}}') == 1
    assert increase_of('broker_http_requests_total{method="GET",route="unmatched",status="404"}') == 1
    assert increase_of('broker_sessions_total{status="completed"}') == 1
    assert increase_of('broker_bank_requests_total{endpoint="graphql",status="200"}') == 1
    assert increase_of('broker_bank_requests_total{endpoint="revocation",status="200"}') == 1
    assert increase_of('broker_refreshes_total{cause="requested",outcome="refreshed"}') == 1
    for secret in (session["id"], connection_id, api.caller.id, api.tenant, "ses_unknown", "user-1", "PROPFIND"):
        assert secret not in after


async def test_probes_are_not_logged(browser: Browser, logs: Logs) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await browser.get(path)
    assert logs.with_event("request") == []


async def test_an_expired_login_is_counted(brokers: BrokerFactory, sign_up: ApiFactory, browser: Browser) -> None:
    broker = await brokers()
    api = await sign_up(broker=broker)
    name = 'broker_sessions_total{status="expired"}'
    before = sample((await browser.get("/metrics")).text, name)
    session = await api.start()
    await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))

    async def is_counted() -> bool:
        return sample((await browser.get("/metrics")).text, name) > before

    await eventually(is_counted)
    assert "session.expired" in [event["action"] for event in (await api.get("/v1/audit")).json()["items"]]
