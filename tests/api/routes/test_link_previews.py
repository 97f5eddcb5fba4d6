"""Links that something other than a person opens first: scanners of mail, previews of chats, scripts."""

from typing import Any

import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.journey import log_in, parameters_of
from tests.support.replica import consent

NAMES = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user")
NOT_A_PERSON = {
    "Slackbot": {"user-agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "accept": "*/*"},
    "WhatsApp": {"user-agent": "WhatsApp/2.23.20.0 A", "accept": "*/*"},
    "Outlook SafeLinks": {
        "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36",
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    },
    "curl": {"user-agent": "curl/8.5.0", "accept": "*/*"},
    "a browser without its user": {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    },
    "a frame": {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "iframe",
        "sec-fetch-user": "?1",
    },
    "a script": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"},
}


class Program(Browser):
    """A client that sends only the headers it is told to send."""

    def __init__(self, broker: Broker, headers: dict[str, str]) -> None:
        super().__init__(broker.url, broker.settings.public_url)
        for name in ("accept", *NAMES):
            del self.headers[name]
        self.headers.update(headers)


async def start_interaction(broker: Broker, api: Api, bank: SandboxClient) -> dict[str, Any]:
    """Start an interaction of a new connection."""
    connection = await broker.rows.link(bank, tenant=api.tenant)
    request = {"interaction_url": f"{broker.settings.stitch_issuer}/approval?id=x", "interaction_id": "x"}
    started = await api.post(f"/v1/connections/{connection.id}/interactions", json=request)
    assert started.status_code == 201, started.text
    interaction: dict[str, Any] = started.json()
    return interaction


@pytest.mark.parametrize("name", NOT_A_PERSON)
async def test_a_program_does_not_use_up_a_link(
    broker: Broker, api: Api, bank: SandboxClient, browser: Browser, name: str
) -> None:
    for link in (await api.start(), await start_interaction(broker, api, bank)):
        async with Program(broker, NOT_A_PERSON[name]) as program:
            shown = await program.open(link["connect_url"])
        assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "set-cookie" not in shown.headers
        assert "location" not in shown.headers
        assert shown.text.count("<button") == 1
        assert '<form method="post">' in shown.text
        assert "form-action 'self'" in shown.headers["content-security-policy"]
        assert "script" not in shown.headers["content-security-policy"]
        opened = await browser.open(link["connect_url"])
        assert opened.status_code == 303
        assert "set-cookie" in opened.headers


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site", "cross-site"])
async def test_a_person_goes_to_the_bank_at_once(api: Api, browser: Browser, site: str) -> None:
    """By a click, by typing the address, from another app, or by a redirect of the company's app."""
    session = await api.start()
    opened = await browser.open(session["connect_url"], headers={"sec-fetch-site": site})
    assert (opened.status_code, opened.headers["location"]) == (303, session["authorization_url"])


async def test_the_button_opens_the_link(broker: Broker, api: Api, bank: SandboxClient) -> None:
    session = await api.start()
    path = session["connect_url"].removeprefix(broker.settings.public_url)
    async with Program(broker, {"accept": "text/html,*/*;q=0.8"}) as old_browser:
        assert (await old_browser.open(session["connect_url"])).status_code == 200
        pressed = await old_browser.post(path)
        assert pressed.status_code == 200
        assert "set-cookie" in pressed.headers
        assert 'http-equiv="refresh" content="0; url=http' in pressed.text
        assert parameters_of(session["authorization_url"])["state"] in pressed.text
        shown = await old_browser.open(await consent(bank, session["authorization_url"]))
        assert "Your account is linked" in shown.text
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_client_that_takes_no_html_is_redirected_after_the_button(broker: Broker, api: Api) -> None:
    session = await api.start()
    async with Program(broker, {"accept": "*/*"}) as program:
        pressed = await program.post(session["connect_url"].removeprefix(broker.settings.public_url))
        assert (pressed.status_code, pressed.headers["location"]) == (303, session["authorization_url"])


async def test_the_button_opens_an_interaction(broker: Broker, api: Api, bank: SandboxClient) -> None:
    interaction = await start_interaction(broker, api, bank)
    async with Program(broker, {"accept": "text/html"}) as old_browser:
        pressed = await old_browser.post(interaction["connect_url"].removeprefix(broker.settings.public_url))
        assert pressed.status_code == 200
        assert "/approval?id=x" in pressed.text
        assert (await old_browser.open(interaction["connect_url"])).status_code == 303


async def test_the_browser_that_opened_a_link_needs_no_button_for_it(
    broker: Broker, api: Api, browser: Browser
) -> None:
    session = await api.start()
    opened = await browser.open(session["connect_url"])
    cookie = opened.headers["set-cookie"].partition(";")[0]
    async with Program(broker, {"cookie": cookie}) as same_browser:
        assert (await same_browser.open(session["connect_url"])).status_code == 303


async def test_a_button_on_another_site_opens_nothing(broker: Broker, api: Api, browser: Browser) -> None:
    session = await api.start()
    path = session["connect_url"].removeprefix(broker.settings.public_url)
    async with broker.new_browser() as lured:
        for site in ("cross-site", "same-site"):
            shown = await lured.post(path, headers={"sec-fetch-site": site})
            assert (shown.status_code, shown.headers.get("set-cookie")) == (200, None)
    assert (await browser.open(session["connect_url"])).status_code == 303


async def test_a_link_that_does_not_work_has_no_button(broker: Broker, api: Api, browser: Browser) -> None:
    session = await api.start()
    await browser.open(session["connect_url"])
    async with Program(broker, NOT_A_PERSON["Slackbot"]) as program:
        assert (await program.open(session["connect_url"])).status_code == 400
        for method in ("GET", "POST"):
            assert (await program.request(method, "/connect/unknown")).status_code == 404
            assert (await program.request(method, "/connect/interactions/unknown")).status_code == 404
        assert (await program.post("/connect/interactions")).status_code == 405


async def test_a_preview_pushes_no_request(brokers: BrokerFactory, bank: SandboxClient) -> None:
    await bank.set_faults(pushed_requests="required")
    broker = await brokers(stitch_par="auto")
    async with await broker.sign_up() as api:
        session = await api.start()
        before = (await bank.ledger()).totals.pushed_requests
        async with Program(broker, NOT_A_PERSON["WhatsApp"]) as program:
            assert (await program.open(session["connect_url"])).status_code == 200
        assert (await bank.ledger()).totals.pushed_requests == before
        async with broker.new_browser() as browser:
            ended, _ = await log_in(api, bank, browser)
        assert ended["status"] == "completed"
