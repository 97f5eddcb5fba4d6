"""Logins with pushed authorization requests (RFC 9126)."""

import pytest

from app.runtime import RuntimeOptions
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.journey import go_to_bank, parameters_of
from tests.support.logs import Logs
from tests.support.replica import consent


@pytest.fixture(scope="module")
async def shared(module_brokers: BrokerFactory) -> Broker:
    # A user needs longer than these tests between two openings of a link.
    return await module_brokers(stitch_par="auto", options=RuntimeOptions(push_interval=0))


@pytest.fixture
async def pushing(shared: Broker, bank: SandboxClient) -> Broker:
    """A broker at a bank that requires pushed requests."""
    await bank.set_faults(pushed_requests="required")
    return shared


@pytest.fixture
async def api(pushing: Broker, sign_up: ApiFactory) -> Api:
    return await sign_up(broker=pushing)


async def test_both_links_lead_to_a_linked_account(api: Api, pushing: Broker, bank: SandboxClient) -> None:
    direct = await api.start()
    assert parameters_of(direct["authorization_url"]).keys() == {"client_id", "request_uri"}
    async with pushing.new_browser() as browser:
        await browser.open(await consent(bank, direct["authorization_url"]))
        assert (await api.session(direct["id"]))["status"] == "completed"
    by_link = await api.start()
    async with pushing.new_browser() as browser:
        await browser.open(await go_to_bank(bank, browser, by_link))
        assert (await api.session(by_link["id"]))["status"] == "completed"


async def test_the_link_works_long_after_the_first_pushed_request_has_expired(
    api: Api, pushing: Broker, bank: SandboxClient
) -> None:
    session = await api.start()
    await bank.control("lapse-pushed-requests")
    async with pushing.new_browser() as browser:
        await browser.open(session["connect_url"])
        # Opened again after going back: the request pushed for the first opening has been used.
        await browser.open(await go_to_bank(bank, browser, session))
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_failed_push_leaves_the_link_unbound(api: Api, pushing: Broker, bank: SandboxClient) -> None:
    session = await api.start()
    await bank.set_faults(par={"status": 503, "times": 1})
    async with pushing.new_browser() as browser:
        assert (await browser.open(session["connect_url"])).status_code == 502
    async with pushing.new_browser() as other:
        await other.open(await go_to_bank(bank, other, session))
    assert (await api.session(session["id"]))["status"] == "completed"


@pytest.mark.parametrize("error", ["invalid_client", "planted-value"])
async def test_a_user_sees_nothing_that_only_the_operator_can_correct(
    api: Api, pushing: Broker, bank: SandboxClient, error: str
) -> None:
    session = await api.start()
    await bank.set_faults(par={"error": error})
    async with pushing.new_browser() as browser:
        shown = await browser.open(session["connect_url"])
    assert shown.status_code == 502
    for text in ("BROKER_", "credentials", "planted-value"):
        assert text not in shown.text
    assert shown.headers["x-request-id"] in shown.text


async def test_no_session_is_started_if_the_push_fails(api: Api, bank: SandboxClient) -> None:
    await bank.set_faults(par={"status": 503})
    response = await api.post("/v1/sessions", json={"user_id": "user-1"})
    assert (response.status_code, response.json()["code"]) == (502, "bank_failed")
    assert (await api.get("/v1/sessions")).json()["items"] == []


async def test_scopes_of_the_caller_that_the_bank_does_not_allow_are_named(api: Api, bank: SandboxClient) -> None:
    response = await api.post("/v1/sessions", json={"user_id": "user-1", "scopes": ["accounts", "nonsense", "other"]})
    assert (response.status_code, response.json()["code"]) == (422, "scope_not_allowed")
    assert response.json()["detail"] == "the bank does not allow these scopes: nonsense other"
    assert (await api.get("/v1/sessions")).json()["items"] == []


async def test_scopes_of_the_settings_that_the_bank_does_not_allow_are_the_operators_to_correct(
    brokers: BrokerFactory, bank: SandboxClient, logs: Logs
) -> None:
    await bank.set_faults(pushed_requests="required")
    broker = await brokers(stitch_par="auto", stitch_scopes=("openid", "nonsense"))
    async with await broker.sign_up() as api:
        response = await api.post("/v1/sessions", json={"user_id": "user-1"})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (502, "bank_refused_request")
    assert "invalid_scope" in problem["detail"]
    assert "nonsense; correct BROKER_STITCH_SCOPES" in problem["detail"]
    assert "cannot be used" not in response.text
    [line] = logs.with_event("pushed_request_rejected")
    assert line["oauth_error"] == "invalid_scope"


async def test_another_refusal_names_the_error_and_the_settings(brokers: BrokerFactory, bank: SandboxClient) -> None:
    await bank.set_faults(pushed_requests="required")
    broker = await brokers(stitch_par="auto", public_url="https://broker.example")
    async with await broker.sign_up() as api:
        response = await api.post("/v1/sessions", json={"user_id": "user-1"})
    assert (response.status_code, response.json()["code"]) == (502, "bank_refused_request")
    assert "invalid_request" in response.json()["detail"]
    assert "https://broker.example/callback" in response.json()["detail"]
    assert response.json()["title"] == "The bank refused the request"
