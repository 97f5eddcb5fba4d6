"""A user's way through a login, in a real browser."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page

from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.browser.conftest import PUBLIC_URL, Person, assert_accessible
from tests.support.broker import Api, Broker
from tests.support.journey import parameters_of

People = Callable[[], Awaitable[Person]]


async def consent(page: Page, *, decision: str = "allow") -> None:
    """Choose a bank, log in and decide, with the keyboard alone."""
    await page.locator("button[name=bank][value=fnb]").focus()
    await page.keyboard.press("Enter")
    await page.locator("input[name=username]").focus()
    await page.keyboard.type("thandi")
    await page.keyboard.press("Tab")
    await page.keyboard.type("thandi-123")
    await page.keyboard.press("Enter")
    await page.locator(f"button[name=decision][value={decision}]").first.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{PUBLIC_URL}/**")


async def heading(page: Page) -> str:
    """Return what a page says first."""
    said: str = await page.locator("h1").inner_text()
    return said


async def test_a_link_is_opened_consented_to_and_thanked_for(api: Api, person: Person, bank: SandboxClient) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    [cookie] = [one for one in await person.context.cookies() if one["name"].startswith("broker-")]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    await consent(page)
    assert await heading(page) == "Your account is linked"
    assert (await api.session(session["id"]))["status"] == "completed"
    await assert_accessible(page, "linked")


async def test_the_back_button_and_a_reload_do_nothing(api: Api, person: Person, bank: SandboxClient) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await consent(page)
    await page.reload()
    assert await heading(page) == "Your account is linked"
    await page.goto(f"{PUBLIC_URL}/docs")
    await page.go_back()
    assert await heading(page) == "Your account is linked"
    assert (await bank.ledger()).totals.codes_exchanged == 1
    assert len((await api.get("/v1/connections")).json()["items"]) == 1


async def test_the_bank_can_be_gone_back_at_and_a_link_be_opened_again(api: Api, person: Person) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await page.locator("button[name=bank][value=capitec]").click()
    await page.locator("input[name=username]").wait_for()
    await page.go_back()
    await consent(page)
    assert await heading(page) == "Your account is linked"
    await page.goto(session["connect_url"])
    assert await heading(page) == "Your account is linked"


async def test_a_login_that_was_wrong_can_be_gone_back_from(api: Api, person: Person) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await page.locator("button[name=bank][value=fnb]").click()
    await page.locator("input[name=username]").fill("thandi")
    await page.locator("input[name=password]").fill("wrong")
    await page.locator("button", has_text="Log in").click()
    await page.locator("[role=alert]").wait_for()
    await page.go_back()
    assert await heading(page) == "Log in to First National Bank"
    await page.go_back()
    await consent(page)
    assert await heading(page) == "Your account is linked"


async def test_two_tabs_end_two_logins(api: Api, person: Person, bank: SandboxClient) -> None:
    first, second = await api.start(), await api.start(user_id="user-2")
    tabs = [await person.open_tab() for _ in range(2)]
    for tab, session in zip(tabs, (first, second), strict=True):
        await tab.goto(session["connect_url"])
    for tab in reversed(tabs):
        await consent(tab)
        assert await heading(tab) == "Your account is linked"


async def test_a_user_who_cancels_is_told_that_nothing_was_linked(
    api: Api, person: Person, bank: SandboxClient
) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await consent(page, decision="cancel")
    assert await heading(page) == "Nothing was linked"
    assert (await api.session(session["id"]))["status"] == "cancelled"
    await assert_accessible(page, "cancelled")


async def test_the_confirmation_code_is_shown_to_copy(api: Api, person: Person, bank: SandboxClient) -> None:
    session = await api.start(require_confirmation=True)
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await consent(page)
    assert await heading(page) == "One step is left"
    code = await page.locator("code").inner_text()
    await assert_accessible(page, "confirmation")
    answer = await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})
    assert answer.json()["status"] == "completed"
    await page.reload()
    assert await heading(page) == "Your account is linked"


async def test_the_code_goes_back_to_the_shop_with_the_browser(api: Api, person: Person, bank: SandboxClient) -> None:
    await person.context.route(
        "https://shop.example/**", lambda route: route.fulfill(content_type="text/html", body="<h1>The shop</h1>")
    )
    session = await api.start(require_confirmation=True, return_url="https://shop.example/done")
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await consent_to_the_shop(page)
    query = parameters_of(page.url)
    assert (query["session_id"], query["status"]) == (session["id"], "awaiting_confirmation")
    answer = await api.post(
        f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": query["confirmation_code"]}
    )
    assert answer.json()["status"] == "completed"


async def consent_to_the_shop(page: Page) -> None:
    """Consent, where the broker sends the browser on."""
    await page.locator("button[name=bank][value=fnb]").click()
    await page.locator("input[name=username]").fill("thandi")
    await page.locator("input[name=password]").fill("thandi-123")
    await page.keyboard.press("Enter")
    await page.locator("button[name=decision][value=allow]").first.click()
    await page.wait_for_url("https://shop.example/**")


async def test_another_browser_is_refused(api: Api, new_person: People, bank: SandboxClient) -> None:
    session = await api.start()
    victim, attacker = await new_person(), await new_person()
    page = await victim.open_tab()
    await page.goto(session["connect_url"])
    other = await attacker.open_tab()
    await other.goto(session["connect_url"])
    assert "another browser" in await other.locator("main").inner_text()
    await assert_accessible(other, "other-browser")
    await other.goto(session["authorization_url"])
    await consent(other)
    assert "another browser" in await other.locator("main").inner_text()
    assert (await bank.ledger()).totals.codes_exchanged == 0
    await consent(page)
    assert await heading(page) == "Your account is linked"


async def test_a_login_that_took_too_long_or_failed_has_a_page(api: Api, broker: Broker, person: Person) -> None:
    late, failed = await api.start(), await api.start()
    await broker.rows.change_session(late["id"], expires_at=seconds_from_now(-1))
    page = await person.open_tab()
    for session, name, text in ((late, "expired", "too long"), (failed, "failed", "could not be linked")):
        state = parameters_of(session["authorization_url"])["state"]
        await page.goto(f"{PUBLIC_URL}/callback?{urlencode({'state': state, 'error': 'server_error'})}")
        assert text in await page.locator("main").inner_text()
        await assert_accessible(page, name)


async def test_a_bank_that_takes_its_time_is_waited_for(
    api: Api, person: Person, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    # Longer than a browser is kept waiting.
    await bank.set_faults(token={"delay": 10, "grant_type": "authorization_code", "times": 1})
    await consent(page)
    assert await heading(page) == "One moment, please"
    await page.get_by_role("heading", name="Your account is linked").wait_for(timeout=20_000)


@pytest.mark.parametrize("name", ["state", "code", "error", "error_description", "iss", "session_state", "unknown"])
async def test_html_in_a_parameter_does_nothing(api: Api, person: Person, name: str) -> None:
    session = await api.start()
    attack = '"><script>document.title="taken"</script><img src=x onerror="document.title=\'taken\'">'
    query = {"state": parameters_of(session["authorization_url"])["state"], "error": "x", name: attack}
    page = await person.open_tab()
    await page.goto(f"{PUBLIC_URL}/callback?{urlencode(query)}")
    assert await page.title() != "taken"
    assert await page.locator("script, img").count() == 0
