"""`/connect/{ticket}`: the link that binds a browser."""

from http.cookies import SimpleCookie

import httpx
import pytest

from app.api.browser_cookies import MAX_COOKIES
from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.journey import go_to_bank


def cookie_of(answer: httpx.Response) -> tuple[str, str, dict[str, str]]:
    """Return the name, value and attributes of the one cookie that an answer sets."""
    [header] = answer.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(header).items()
    return name, morsel.value, {key: str(value) for key, value in morsel.items() if value}


async def test_the_link_leads_to_the_bank_and_binds_the_browser(api: Api, browser: Browser) -> None:
    session = await api.start()
    answer = await browser.open(session["connect_url"])
    assert answer.status_code == 303
    assert answer.headers["location"] == session["authorization_url"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    name, value, attributes = cookie_of(answer)
    assert name.startswith("broker-")
    assert len(value) == 43
    assert attributes == {"path": "/", "max-age": "1500", "httponly": "True", "samesite": "lax"}


async def test_over_https_the_cookie_is_secure_and_of_this_host_only(
    brokers: BrokerFactory, sign_up: ApiFactory
) -> None:
    broker = await brokers(public_url="https://broker.example")
    api = await sign_up(broker=broker)
    session = await api.start()
    assert session["connect_url"].startswith("https://broker.example/connect/")
    async with broker.new_browser() as browser:
        name, value, attributes = cookie_of(await browser.open(session["connect_url"]))
        assert name.startswith("__Host-broker-")
        assert attributes == {
            "path": "/",
            "max-age": "1500",
            "httponly": "True",
            "samesite": "lax",
            "secure": "True",
        }
        again = await browser.open(session["connect_url"], headers={"cookie": f"{name}={value}"})
        assert again.status_code == 303
        # A plain cookie of that name can be set by a neighbouring host; it does not bind.
        forged = await browser.open(session["connect_url"], headers={"cookie": f"broker={value}"})
        assert forged.status_code == 400


async def test_the_same_browser_may_open_the_link_again(api: Api, browser: Browser) -> None:
    session = await api.start()
    first, second = [await browser.open(session["connect_url"]) for _ in range(2)]
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]


async def test_a_second_browser_is_refused(api: Api, browser: Browser, other_browser: Browser) -> None:
    session = await api.start()
    await browser.open(session["connect_url"])
    answer = await other_browser.open(session["connect_url"])
    assert answer.status_code == 400
    assert "another browser" in answer.text
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_a_browser_that_knows_other_sessions_gets_no_further_with_their_cookie(
    api: Api, browser: Browser, other_browser: Browser
) -> None:
    theirs, mine = await api.start(), await api.start()
    await browser.open(theirs["connect_url"])
    await other_browser.open(mine["connect_url"])
    assert (await browser.open(mine["connect_url"])).status_code == 400


async def test_one_browser_may_have_several_logins_open(api: Api, browser: Browser, bank: SandboxClient) -> None:
    first, second = await api.start(), await api.start(user_id="user-2")
    location = await go_to_bank(bank, browser, first)
    other_location = await go_to_bank(bank, browser, second)
    for session, address in ((second, other_location), (first, location)):
        assert "Your account is linked" in (await browser.open(address)).text
        assert (await api.session(session["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x-moz": "prefetch"},
        {"Purpose": "Prefetch"},
    ],
)
async def test_a_browser_that_only_guesses_uses_nothing_up(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient, headers: dict[str, str]
) -> None:
    session = await api.start()
    guess = await other_browser.open(session["connect_url"], headers=headers)
    assert guess.status_code == 403
    assert "set-cookie" not in guess.headers
    location = await go_to_bank(bank, browser, session)
    guess = await browser.open(location, headers=headers)
    assert guess.status_code == 403
    assert (await api.session(session["id"]))["status"] == "pending"
    assert (await browser.open(location)).status_code == 200
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_head_request_uses_nothing_up(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start()
    path = session["connect_url"].removeprefix(str(broker_address(session["connect_url"])))
    looked = await other_browser.head(path)
    assert (looked.status_code, "set-cookie" in looked.headers) == (204, False)
    location = await go_to_bank(bank, browser, session)
    looked = await browser.head(location.removeprefix(str(broker_address(location))))
    assert (looked.status_code, "set-cookie" in looked.headers) == (204, False)
    assert (await api.session(session["id"]))["status"] == "pending"
    assert "Your account is linked" in (await browser.open(location)).text


def broker_address(url: str) -> str:
    """Return an address without its path."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


@pytest.mark.parametrize("ticket", ["unknown", "x" * 43, "%00", "%F0%9F%98%80", "..%2f..", "x" * 100])
async def test_an_unknown_link_leads_nowhere(browser: Browser, ticket: str) -> None:
    answer = await browser.get(f"/connect/{ticket}")
    assert answer.status_code == 404
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("ticket", ["unknown", "x" * 101, "a%2Fb"])
async def test_what_a_browser_is_shown_is_a_page(browser: Browser, ticket: str) -> None:
    answer = await browser.get(f"/connect/{ticket}", headers={"accept": "text/html"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_link_that_has_served_shows_its_browser_the_outcome_again(
    api: Api, browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start()
    await browser.open(await go_to_bank(bank, browser, session))
    answer = await browser.open(session["connect_url"])
    assert answer.status_code == 200
    assert "Your account is linked" in answer.text
    assert "set-cookie" not in answer.headers
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_link_that_has_served_leads_its_browser_back_to_the_app_again(
    api: Api, browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start(return_url="https://shop.example/done")
    ended = await browser.open(await go_to_bank(bank, browser, session))
    answer = await browser.open(session["connect_url"])
    assert answer.status_code == 303
    assert answer.headers["location"] == ended.headers["location"]


async def test_a_link_that_has_served_tells_other_browsers_nothing(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start(return_url="https://shop.example/done", require_confirmation=True)
    await browser.open(await go_to_bank(bank, browser, session))
    answer = await other_browser.open(session["connect_url"])
    assert answer.status_code == 400
    assert "This link has been used; ask for a new one." in answer.text
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_an_expired_link_says_that_it_has_expired(api: Api, broker: Broker, browser: Browser) -> None:
    session = await api.start()
    await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
    answer = await browser.open(session["connect_url"])
    assert answer.status_code == 400
    assert "This link has expired; ask for a new one." in answer.text


async def test_a_browser_keeps_only_so_many_logins(api: Api, browser: Browser, bank: SandboxClient) -> None:
    """Gateways refuse requests with too many cookies, whoever has had a browser open that many links."""
    for _ in range(MAX_COOKIES + 10):
        assert (await browser.open((await api.start())["connect_url"])).status_code == 303
    kept = [one.name for one in browser.cookies.jar]
    assert len(kept) == MAX_COOKIES
    session = await api.start()
    shown = await browser.open(await go_to_bank(bank, browser, session))
    assert "Your account is linked" in shown.text
