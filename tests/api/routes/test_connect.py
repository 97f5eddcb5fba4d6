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


def cookie_of(response: httpx.Response) -> tuple[str, str, dict[str, str]]:
    """Return the name, value and attributes of the one cookie that a response sets."""
    [header] = response.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(header).items()
    return name, morsel.value, {key: str(value) for key, value in morsel.items() if value}


async def test_the_link_leads_to_the_bank_and_binds_the_browser(api: Api, browser: Browser) -> None:
    session = await api.start()
    response = await browser.open(session["connect_url"])
    assert response.status_code == 303
    assert response.headers["location"] == session["authorization_url"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    name, value, attributes = cookie_of(response)
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
        # A cookie without the prefix can be set by a neighbouring host, so it has no effect.
        forged = await browser.open(session["connect_url"], headers={"cookie": f"broker={value}"})
        assert forged.status_code == 400


async def test_the_same_browser_may_open_the_link_again(api: Api, browser: Browser) -> None:
    session = await api.start()
    first, second = [await browser.open(session["connect_url"]) for _ in range(2)]
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]


async def test_a_second_browser_is_rejected(api: Api, browser: Browser, other_browser: Browser) -> None:
    session = await api.start()
    await browser.open(session["connect_url"])
    response = await other_browser.open(session["connect_url"])
    assert response.status_code == 400
    assert "another browser" in response.text
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers


async def test_the_cookie_of_another_session_gives_no_access(
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
async def test_a_prefetch_uses_nothing_up(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient, headers: dict[str, str]
) -> None:
    session = await api.start()
    prefetch = await other_browser.open(session["connect_url"], headers=headers)
    assert prefetch.status_code == 403
    assert "set-cookie" not in prefetch.headers
    location = await go_to_bank(bank, browser, session)
    prefetch = await browser.open(location, headers=headers)
    assert prefetch.status_code == 403
    assert (await api.session(session["id"]))["status"] == "pending"
    assert (await browser.open(location)).status_code == 200
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_head_request_uses_nothing_up(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start()
    path = session["connect_url"].removeprefix(str(origin_of(session["connect_url"])))
    head = await other_browser.head(path)
    assert (head.status_code, "set-cookie" in head.headers) == (204, False)
    location = await go_to_bank(bank, browser, session)
    head = await browser.head(location.removeprefix(str(origin_of(location))))
    assert (head.status_code, "set-cookie" in head.headers) == (204, False)
    assert (await api.session(session["id"]))["status"] == "pending"
    assert "Your account is linked" in (await browser.open(location)).text


def origin_of(url: str) -> str:
    """Return the origin of a URL."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


@pytest.mark.parametrize("ticket", ["unknown", "x" * 43, "%00", "%F0%9F%98%80", "..%2f..", "x" * 100])
async def test_an_unknown_link_leads_nowhere(browser: Browser, ticket: str) -> None:
    response = await browser.get(f"/connect/{ticket}")
    assert response.status_code == 404
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("ticket", ["unknown", "x" * 101, "a%2Fb", "a%0Ab", "interactions/a%0Ab"])
async def test_an_error_is_a_page(browser: Browser, ticket: str) -> None:
    response = await browser.get(f"/connect/{ticket}", headers={"accept": "text/html"})
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"].startswith("text/html")


async def test_a_used_link_shows_its_browser_the_outcome_again(api: Api, browser: Browser, bank: SandboxClient) -> None:
    session = await api.start()
    await browser.open(await go_to_bank(bank, browser, session))
    response = await browser.open(session["connect_url"])
    assert response.status_code == 200
    assert "Your account is linked" in response.text
    assert "set-cookie" not in response.headers
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_a_used_link_redirects_its_browser_to_the_app_again(
    api: Api, browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start(return_url="https://shop.example/done")
    ended = await browser.open(await go_to_bank(bank, browser, session))
    response = await browser.open(session["connect_url"])
    assert response.status_code == 303
    assert response.headers["location"] == ended.headers["location"]


async def test_a_used_link_shows_other_browsers_nothing(
    api: Api, browser: Browser, other_browser: Browser, bank: SandboxClient
) -> None:
    session = await api.start(return_url="https://shop.example/done", require_confirmation=True)
    await browser.open(await go_to_bank(bank, browser, session))
    response = await other_browser.open(session["connect_url"])
    assert response.status_code == 400
    assert "This link has been used; ask for a new one." in response.text
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers


async def test_an_expired_link_says_that_it_has_expired(api: Api, broker: Broker, browser: Browser) -> None:
    session = await api.start()
    await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
    response = await browser.open(session["connect_url"])
    assert response.status_code == 400
    assert "This link has expired; ask for a new one." in response.text


async def test_the_cookies_of_a_browser_are_limited(api: Api, browser: Browser, bank: SandboxClient) -> None:
    """Gateways reject requests with too many cookies, and an attacker may have made the browser open many links."""
    for number in range(MAX_COOKIES):
        browser.cookies.set(f"broker-{number:016x}", "s" * 43, domain="127.0.0.1", path="/")
    for _ in range(3):
        assert (await browser.open((await api.start())["connect_url"])).status_code == 303
    assert len(browser.cookies.jar) == MAX_COOKIES
    session = await api.start()
    shown = await browser.open(await go_to_bank(bank, browser, session))
    assert "Your account is linked" in shown.text
