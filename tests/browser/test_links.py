"""How people and programs come to a link, in a real browser: `Sec-Fetch-*` headers tell them apart."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page

from sandbox.client import SandboxClient
from tests.browser.conftest import Person, assert_accessible
from tests.browser.test_login import consent, heading
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, Reply, hostile_server

CONTINUE = "Continue to your bank"


@pytest.fixture
async def company() -> AsyncIterator[HostileServer]:
    """The company's app: another site than the broker."""
    async with hostile_server() as server:
        yield server


def html(text: str) -> Reply:
    """Return a page of the company's app."""
    body = f"<!doctype html>{text}".encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return Reply(head.encode() + body)


def redirect(url: str) -> Reply:
    """Return a redirect of the company's app."""
    return Reply(
        f"HTTP/1.1 303 See Other\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
    )


async def assert_is_at_bank(page: Page) -> None:
    """Wait for the bank's first page."""
    await page.locator("button[name=bank][value=fnb]").wait_for()


async def test_a_click_leads_to_the_bank_at_once(api: Api, person: Person, company: HostileServer) -> None:
    session = await api.start()
    company.replies["/app"] = html(f'<a href="{session["connect_url"]}">Link my account</a>')
    page = await person.open_tab()
    await page.goto(f"{company.url}/app")
    await page.get_by_role("link").click()
    await assert_is_at_bank(page)


async def test_a_redirect_after_a_click_leads_to_the_bank_at_once(
    api: Api, person: Person, company: HostileServer
) -> None:
    session = await api.start()
    company.replies["/app"] = html('<form action="/start" method="post"><button>Link my account</button></form>')
    company.replies["/start"] = redirect(session["connect_url"])
    page = await person.open_tab()
    await page.goto(f"{company.url}/app")
    await page.get_by_role("button").click()
    await assert_is_at_bank(page)


async def test_a_typed_address_leads_to_the_bank_at_once(api: Api, person: Person) -> None:
    session = await api.start()
    page = await person.open_tab()
    await page.goto(session["connect_url"])
    await assert_is_at_bank(page)


async def test_a_page_that_goes_there_by_itself_gets_a_button_that_leads_to_the_bank(
    api: Api, person: Person, company: HostileServer
) -> None:
    session = await api.start()
    company.replies["/app"] = html(f"<script>location.href = '{session['connect_url']}'</script>")
    page = await person.open_tab()
    await page.goto(f"{company.url}/app")
    await page.wait_for_url(session["connect_url"])
    assert await heading(page) == CONTINUE
    assert await person.context.cookies() == []
    await assert_accessible(page, "continue")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await assert_is_at_bank(page)
    await consent(page)
    assert await heading(page) == "Your account is linked"
    assert (await api.session(session["id"]))["status"] == "completed"


async def test_an_interaction_has_the_same_button(
    broker: Broker, api: Api, person: Person, company: HostileServer, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant)
    request = {"interaction_url": f"{broker.settings.stitch_issuer}/approval?id=x", "interaction_id": "x"}
    started = (await api.post(f"/v1/connections/{connection.id}/interactions", json=request)).json()
    company.replies["/app"] = html(f"<script>location.href = '{started['connect_url']}'</script>")
    page = await person.open_tab()
    await page.goto(f"{company.url}/app")
    await page.wait_for_url(started["connect_url"])
    assert await heading(page) == CONTINUE
    await page.get_by_role("button").click()
    await page.wait_for_url(f"{broker.settings.stitch_issuer}/approval**")
