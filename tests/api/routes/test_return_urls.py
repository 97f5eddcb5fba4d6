"""Where the browser goes after a login."""

from urllib.parse import quote

import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import BrokerFactory
from tests.api.routes.callback_pages import call_back, parse_page
from tests.support.broker import Api, Browser
from tests.support.journey import go_to_bank, log_in, parameters_of


class TestReturnUrl:
    async def test_the_browser_goes_back_with_the_outcome(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session, shown = await log_in(api, bank, browser, return_url="https://shop.example/done")
        assert shown.status_code == 303
        assert shown.headers["location"].startswith("https://shop.example/done?")
        assert parameters_of(shown.headers["location"]) == {"session_id": session["id"], "status": "completed"}
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "no-referrer"

    async def test_the_query_of_the_return_url_is_kept(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        url = "https://shop.example/below/x?order=10%2001&empty=&status=forged&a=1"
        session, shown = await log_in(api, bank, browser, return_url=url)
        assert parameters_of(shown.headers["location"]) == {
            "order": "10 01",
            "empty": "",
            "a": "1",
            "session_id": session["id"],
            "status": "completed",
        }

    @pytest.mark.parametrize(
        ("parameters", "status"),
        [({}, "cancelled"), ({"error": "access_denied"}, "cancelled"), ({"error": "server_error"}, "failed")],
    )
    async def test_the_return_url_gets_other_outcomes_too(
        self, api: Api, browser: Browser, parameters: dict[str, str], status: str
    ) -> None:
        session = await api.start(return_url="https://shop.example/done")
        shown = await call_back(browser, session, **parameters)
        assert shown.status_code == 303
        assert parameters_of(shown.headers["location"]) == {"session_id": session["id"], "status": status}

    async def test_another_browser_that_opens_an_ended_login_learns_no_code(
        self, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
    ) -> None:
        request = {"return_url": "https://shop.example/done", "require_confirmation": True}
        session = await api.start(**request)
        location = await go_to_bank(bank, browser, session)
        shown = await browser.open(location)
        assert "confirmation_code" in parameters_of(shown.headers["location"])
        elsewhere = await other_browser.open(location)
        assert "confirmation_code" not in elsewhere.headers.get("location", "")


class TestPathPrefix:
    async def test_a_page_finds_its_assets_below_the_public_path(self, brokers: BrokerFactory) -> None:
        """The gateway removes the path, but the URLs on the page must have it."""
        broker = await brokers(public_url="https://example.com/linking/")
        async with broker.new_browser() as browser:
            shown = await browser.get("/callback")
        addresses = parse_page(shown).addresses
        assert addresses
        assert all(address.startswith("/linking/static/") for address in addresses)


async def test_a_return_url_that_needs_quoting_is_unchanged(api: Api, browser: Browser) -> None:
    url = "https://shop.example/below/" + quote("späti & co", safe="")
    session = await api.start(return_url=url)
    shown = await call_back(browser, session)
    assert shown.headers["location"].partition("?")[0] == url
