"""The cookie by which a login knows its browser: what others put beside it, or in its place, must not pass for it."""

import pytest

from app.base.hashing import sha256_hex
from app.login.connect_links import login_name
from sandbox.client import SandboxClient
from tests.support.broker import Api, Browser
from tests.support.journey import go_to_bank, parameters_of
from tests.support.replica import consent

TOSSED = "A" * 43


def cookie_name(session: dict[str, str]) -> str:
    state = parameters_of(session["authorization_url"])["state"]
    return f"broker-{login_name(sha256_hex(state))}"


@pytest.mark.parametrize("octet", [b"\xa0", b"\x85"])
async def test_a_name_with_more_before_it_is_another_name(
    *, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser, octet: bytes
) -> None:
    """Such a name has no `__Host-` prefix for the browser, so that a neighbouring host may set it."""
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    secret = browser.cookies[cookie_name(session)]
    cookie = octet + f"{cookie_name(session)}={secret}".encode()
    refused = await other_browser.open(location, headers={b"cookie": cookie})
    assert refused.status_code == 400
    assert "another browser" in refused.text
    assert (await api.session(session["id"]))["status"] == "pending"


async def test_a_name_that_comes_twice_is_nobody_s(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    twice = f"{name}={TOSSED}; {name}={browser.cookies[name]}"
    assert (await other_browser.open(location, headers={"cookie": twice})).status_code == 400


async def test_more_cookies_than_any_browser_sends_are_not_looked_into(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    kept = f"{name}={browser.cookies[name]}"
    assert (await other_browser.open(location, headers={"cookie": ";" * 17_000 + kept})).status_code == 400
    assert (await api.session(session["id"]))["status"] == "pending"
    assert (await other_browser.open(location, headers={"cookie": ";" * 10_000 + kept})).status_code == 200


@pytest.mark.parametrize("value", [TOSSED, "attacker-chosen", ""])
async def test_a_login_is_never_bound_to_what_a_browser_brought(
    *, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser, value: str
) -> None:
    session = await api.start(require_confirmation=True, return_url="https://shop.example/done")
    location = await consent(bank, session["authorization_url"])
    tossed = {"cookie": f"{cookie_name(session)}={value}"}
    victim = await browser.open(location, headers=tossed)
    assert "confirmation_code" in victim.headers["location"]
    secret = victim.cookies[cookie_name(session)]
    assert secret != value
    attacker = await other_browser.open(location, headers=tossed)
    # Nor is it led to the app, where it would seem to have logged in.
    assert "location" not in attacker.headers
    assert parameters_of(victim.headers["location"])["confirmation_code"] not in attacker.text
    again = await other_browser.open(location, headers={"cookie": f"{cookie_name(session)}={secret}"})
    assert "confirmation_code" in again.headers["location"]


async def test_nothing_is_unquoted(api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser) -> None:
    """Python before 3.11.10 does so in quadratic time: one cookie of 64 KB held up all for half a minute."""
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    quoted = {"cookie": f'{name}="{browser.cookies[name]}"'}
    assert (await other_browser.open(location, headers=quoted)).status_code == 400


async def test_names_that_only_begin_like_a_logins_are_left_alone(api: Api, browser: Browser) -> None:
    """Whoever else is on this host may have put them there, and some of them cannot be set."""
    session = await api.start()
    planted = "; ".join(f"broker-{mark}{number}={TOSSED}" for number in range(20) for mark in ("a/", "(", "@"))
    opened = await browser.open(session["connect_url"], headers={"cookie": planted})
    assert opened.status_code == 303
    assert len(opened.headers.get_list("set-cookie")) == 1
