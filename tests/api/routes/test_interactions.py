"""A payment that the user must approve on a page of the bank, to which the broker leads the browser."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import interactions
from sandbox.browser import submit
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_problem
from tests.support.journey import parameters_of

PAY = """
mutation Pay($amount: MoneyInput!) {
  userInitiatePayment(input: {amount: $amount, payerReference: "Rent"}) { paymentInitiation { id } }
}
"""
AMOUNT = {"amount": {"quantity": "5000", "currency": "ZAR"}}
BACK = "/connect/interactions"


async def pay(api: Api, connection_id: str) -> dict[str, Any]:
    """Request a payment, and return the bank's response."""
    response: dict[str, Any] = (await api.query(connection_id, PAY, variables=AMOUNT)).json()
    return response


async def required_interaction(api: Api, connection_id: str) -> dict[str, str]:
    """Request a payment that needs the user, and return the request for the interaction."""
    [error] = (await pay(api, connection_id))["errors"]
    assert error["extensions"]["code"] == "USER_INTERACTION_REQUIRED"
    return {
        "interaction_url": error["extensions"]["userInteractionUrl"],
        "interaction_id": error["extensions"]["id"],
    }


async def begin(api: Api, connection_id: str, **more: Any) -> dict[str, Any]:
    """Request a payment that needs the user, and start the interaction."""
    request = await required_interaction(api, connection_id) | more
    response = await api.post(f"/v1/connections/{connection_id}/interactions", json=request)
    assert response.status_code == 201, response.text
    started: dict[str, Any] = response.json()
    assert response.headers["location"] == path_of(started)
    assert started["status"] == "pending"
    return started


def path_of(interaction: dict[str, Any]) -> str:
    """Return the path of an interaction."""
    return f"/v1/connections/{interaction['connection_id']}/interactions/{interaction['id']}"


async def shown(api: Api, interaction: dict[str, Any], *, wait: int = 0) -> dict[str, Any]:
    """Return an interaction."""
    response = await api.get(f"{path_of(interaction)}?wait={wait}")
    assert response.status_code == 200, response.text
    current: dict[str, Any] = response.json()
    return current


async def decide(bank: SandboxClient, browser: Browser, interaction: dict[str, Any], decision: str) -> str:
    """Open the link and decide on the bank's page. Returns where the bank sends the browser."""
    opened = await browser.open(interaction["connect_url"])
    assert opened.status_code == 303, opened.text
    page = await bank.http.get(opened.headers["location"])
    assert page.status_code == 200, page.text
    location: str = (await submit(bank.http, page, {"decision": decision})).headers["location"]
    return location


@pytest.mark.parametrize(
    ("decision", "status", "says", "error"),
    [
        ("allow", "completed", "Your bank has what it needs", None),
        ("decline", "failed", "not approved", "interaction_failed"),
    ],
)
async def test_the_user_decides_at_the_bank_and_the_caller_gets_the_outcome(
    *,
    api: Api,
    bank: SandboxClient,
    browser: Browser,
    connection_id: str,
    decision: str,
    status: str,
    says: str,
    error: str | None,
) -> None:
    started = await begin(api, connection_id)
    waiting = asyncio.create_task(shown(api, started, wait=30))
    location = await decide(bank, browser, started, decision)
    assert urlsplit(location).path == BACK
    page = await browser.open(location)
    assert (page.status_code, says in page.text) == (200, True)
    ended = await waiting
    assert ended["status"] == status
    assert (ended["error"] and ended["error"]["code"]) == error
    assert ended["ended_at"] is not None
    assert ended["connect_url"] is None
    assert ((await pay(api, connection_id))["data"] is not None) == (decision == "allow")
    # Opened again, the page shows the same, and the link no longer works.
    assert says in (await browser.open(location)).text
    assert (await browser.open(started["connect_url"])).status_code == 400
    events = (await api.get(f"/v1/audit?connection_id={connection_id}")).json()["items"]
    interaction_events = [event for event in events if "interaction" in event["action"]]
    assert [(event["action"], event["detail"]["interaction_id"]) for event in interaction_events] == [
        ("interaction.started", started["id"]),
        (f"interaction.{status}", started["id"]),
    ]


async def test_a_caller_that_is_disabled_during_the_wait_is_rejected(
    api: Api, broker: Broker, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    task = asyncio.create_task(api.get(f"{path_of(started)}?wait=60"))
    await shown(api, started)
    await broker.registry.disable(api.caller.id, actor="operator")
    assert_problem(await asyncio.wait_for(task, 20), 401, "unauthorized_caller")


async def test_the_browser_returns_to_the_app(
    api: Api, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id, return_url="https://shop.example/done")
    response = await browser.open(await decide(bank, browser, started, "allow"))
    assert response.status_code == 303
    assert response.headers["location"].startswith("https://shop.example/done?")
    assert parameters_of(response.headers["location"]) == {"interaction": started["id"], "status": "completed"}


async def test_only_the_browser_that_opened_it_can_end_it(
    *, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    location = await decide(bank, browser, started, "allow")
    for attempt in (await other_browser.open(location), await other_browser.open(started["connect_url"])):
        assert attempt.status_code == 400
        assert "set-cookie" not in attempt.headers
    assert (await shown(api, started))["status"] == "pending"
    await browser.open(location)
    assert (await shown(api, started))["status"] == "completed"


async def test_returning_without_a_decision_decides_nothing(
    api: Api, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    assert (await browser.get(BACK)).status_code == 400
    await browser.open(started["connect_url"])
    forged = await browser.get(BACK, params={"status": "complete", "id": started["interaction_id"]})
    assert 'http-equiv="refresh"' in forged.text
    assert (await shown(api, started))["status"] == "pending"


async def test_two_interactions_in_one_browser_are_separate(
    api: Api, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    first, second = await begin(api, connection_id), await begin(api, connection_id)
    await browser.open(first["connect_url"])
    await browser.open(await decide(bank, browser, second, "decline"))
    assert (await shown(api, second))["status"] == "failed"
    assert (await shown(api, first))["status"] == "pending"


async def test_a_bank_that_fails_at_the_return_is_asked_again(
    api: Api, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    location = await decide(bank, browser, started, "allow")
    await bank.set_faults(graphql={"status": 503, "times": 1})
    assert 'http-equiv="refresh"' in (await browser.open(location)).text
    assert (await shown(api, started, wait=20))["status"] == "completed"


async def test_an_expired_token_is_refreshed_to_ask_for_the_outcome(
    *, api: Api, broker: Broker, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    location = await decide(bank, browser, started, "allow")
    await bank.control("expire")
    assert "Your bank has what it needs" in (await browser.open(location)).text
    assert (await api.connection(connection_id))["version"] == 2


async def test_an_interaction_whose_user_does_not_return_expires(
    *, api: Api, broker: Broker, browser: Browser, connection_id: str
) -> None:
    started = await begin(api, connection_id)
    async with broker.database.transaction() as transaction:
        await transaction.execute(
            interactions.update().where(interactions.c.id == started["id"]).values(expires_at=seconds_from_now(-1))
        )
    ended = await shown(api, started, wait=10)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "interaction_expired")
    assert (await browser.open(started["connect_url"])).status_code == 400


async def test_a_prefetch_binds_no_browser(api: Api, browser: Browser, connection_id: str) -> None:
    started = await begin(api, connection_id)
    prefetch = await browser.open(started["connect_url"], headers={"sec-purpose": "prefetch"})
    assert prefetch.status_code == 403
    assert "set-cookie" not in prefetch.headers
    opened = await browser.open(started["connect_url"])
    assert opened.status_code == 303
    [cookie] = opened.headers.get_list("set-cookie")
    assert cookie.startswith("broker-interaction-")
    assert "HttpOnly" in cookie
    assert dict(parse_qsl(urlsplit(opened.headers["location"]).query))["redirect_uri"].endswith(BACK)


async def test_over_https_the_cookie_is_of_this_host_only(
    *, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
) -> None:
    broker = await brokers(public_url="https://broker.example")
    api = await sign_up(broker=broker)
    started = await begin(api, (await broker.rows.link(bank, tenant=api.tenant)).id)
    async with broker.new_browser() as browser:
        opened = await browser.open(started["connect_url"])
    [cookie] = opened.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-broker-interaction-")
    assert "Secure" in cookie


@pytest.mark.parametrize("url", ["https://evil.example/approval?id=1", "/approval?id=1", "javascript:alert(1)"])
async def test_a_url_that_is_not_the_banks_is_rejected(api: Api, connection_id: str, url: str) -> None:
    response = await api.post(
        f"/v1/connections/{connection_id}/interactions", json={"interaction_url": url, "interaction_id": "1"}
    )
    assert_problem(response, 422, "interaction_url_not_allowed")


async def test_a_return_url_that_is_not_allowed_is_rejected(api: Api, connection_id: str) -> None:
    request = await required_interaction(api, connection_id) | {"return_url": "https://evil.example/"}
    response = await api.post(f"/v1/connections/{connection_id}/interactions", json=request)
    assert_problem(response, 422, "return_url_not_allowed")


async def test_a_revoked_connection_gets_no_interactions(api: Api, bank: SandboxClient, connection_id: str) -> None:
    request = await required_interaction(api, connection_id)
    await api.delete(f"/v1/connections/{connection_id}")
    response = await api.post(f"/v1/connections/{connection_id}/interactions", json=request)
    assert_problem(response, 409, "connection_revoked")


async def test_the_interactions_of_an_erased_user_are_erased(api: Api, broker: Broker, connection_id: str) -> None:
    started = await begin(api, connection_id)
    await api.delete("/v1/users/user-1")
    gone: httpx.Response = await api.get(path_of(started))
    assert_problem(gone, 404, "interaction_not_found")


async def test_the_user_returns_from_the_latest_of_many_interactions(
    api: Api, bank: SandboxClient, browser: Browser, connection_id: str
) -> None:
    for number in range(20):
        browser.cookies.set(f"broker-interaction-{number:016x}", f"{number:043}", domain="127.0.0.1", path="/")
    for _ in range(2):
        started = await begin(api, connection_id)
        await browser.open(await decide(bank, browser, started, "decline"))
    last = await begin(api, connection_id)
    page = await browser.open(await decide(bank, browser, last, "allow"))
    assert "Thank you" in page.text
    assert (await shown(api, last))["status"] == "completed"


@pytest.mark.parametrize("is_foreign_the_latest", [True, False])
@pytest.mark.parametrize("decided", ["mine", "theirs"])
async def test_the_outcome_of_another_users_interaction_is_not_shown(
    *,
    api: Api,
    broker: Broker,
    bank: SandboxClient,
    browser: Browser,
    connection_id: str,
    is_foreign_the_latest: bool,
    decided: str,
) -> None:
    """An attacker may have made this browser open the link of another user, who approves it elsewhere or never."""
    foreign = (await broker.rows.link(bank, tenant=api.tenant, user_id="user-2")).id
    order = [("mine", connection_id), ("theirs", foreign)]
    for whose, connection in order if is_foreign_the_latest else reversed(order):
        interaction = await begin(api, connection, return_url="https://shop.example/done")
        if whose == decided:
            await decide(bank, browser, interaction, "allow")
        else:
            await browser.open(interaction["connect_url"])
    back = await browser.get(BACK)
    assert "location" not in back.headers
    assert "You are back from your bank" in back.text
