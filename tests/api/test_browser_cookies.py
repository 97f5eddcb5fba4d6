"""The cookie that binds a login to a browser cannot be replaced by cookies that others have planted."""

import pytest

from app.base.hashing import sha256_hex
from app.login.connect_links import login_name
from sandbox.client import SandboxClient
from tests.support.broker import Api, Browser
from tests.support.journey import go_to_bank, parameters_of
from tests.support.replica import consent

PLANTED = "A" * 43


def cookie_name(session: dict[str, str]) -> str:
    state = parameters_of(session["authorization_url"])["state"]
    return f"broker-{login_name(sha256_hex(state))}"


@pytest.mark.parametrize("octet", [b"\xa0", b"\x85"])
async def test_a_cookie_name_with_other_characters_before_it_is_another_name(
    *, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser, octet: bytes
) -> None:
    """For browsers such a name has no `__Host-` prefix, so a neighbouring host may set it."""
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    secret = browser.cookies[cookie_name(session)]
    cookie = octet + f"{cookie_name(session)}={secret}".encode()
    refused = await other_browser.open(location, headers={b"cookie": cookie})
    assert refused.status_code == 400
    assert "another browser" in refused.text
    assert (await api.session(session["id"]))["status"] == "pending"


async def test_a_repeated_cookie_is_ignored(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    twice = f"{name}={PLANTED}; {name}={browser.cookies[name]}"
    assert (await other_browser.open(location, headers={"cookie": twice})).status_code == 400


async def test_a_cookie_header_that_is_too_long_is_ignored(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    kept = f"{name}={browser.cookies[name]}"
    assert (await other_browser.open(location, headers={"cookie": ";" * 17_000 + kept})).status_code == 400
    assert (await api.session(session["id"]))["status"] == "pending"
    assert (await other_browser.open(location, headers={"cookie": ";" * 10_000 + kept})).status_code == 200


@pytest.mark.parametrize("value", [PLANTED, "attacker-chosen", ""])
async def test_a_login_is_never_bound_to_a_secret_that_the_browser_sent(
    *, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser, value: str
) -> None:
    session = await api.start(require_confirmation=True, return_url="https://shop.example/done")
    location = await consent(bank, session["authorization_url"])
    planted = {"cookie": f"{cookie_name(session)}={value}"}
    victim = await browser.open(location, headers=planted)
    assert "confirmation_code" in victim.headers["location"]
    secret = victim.cookies[cookie_name(session)]
    assert secret != value
    attacker = await other_browser.open(location, headers=planted)
    # It is not redirected to the app either, where it would seem to have logged in.
    assert "location" not in attacker.headers
    assert parameters_of(victim.headers["location"])["confirmation_code"] not in attacker.text
    again = await other_browser.open(location, headers={"cookie": f"{cookie_name(session)}={secret}"})
    assert "confirmation_code" in again.headers["location"]


async def test_quoted_values_are_not_unquoted(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    """Python before 3.11.10 unquotes in quadratic time: a cookie of 64 KB would block the process for 30 s."""
    session = await api.start()
    location = await go_to_bank(bank, browser, session)
    name = cookie_name(session)
    quoted = {"cookie": f'{name}="{browser.cookies[name]}"'}
    assert (await other_browser.open(location, headers=quoted)).status_code == 400


async def test_cookies_whose_name_only_begins_like_that_of_a_login_are_not_deleted(api: Api, browser: Browser) -> None:
    """Other applications on this host may have set them, and some of these names cannot be set."""
    session = await api.start()
    planted = "; ".join(f"broker-{prefix}{number}={PLANTED}" for number in range(20) for prefix in ("a/", "(", "@"))
    opened = await browser.open(session["connect_url"], headers={"cookie": planted})
    assert opened.status_code == 303
    assert len(opened.headers.get_list("set-cookie")) == 1
