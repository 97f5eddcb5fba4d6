"""`/docs` in a real browser."""

import pytest
from playwright.async_api import Page, expect

from sandbox.client import SandboxClient
from tests.browser.conftest import PUBLIC_URL, Person, assert_accessible
from tests.browser.test_login import consent
from tests.support.broker import Api, Broker


@pytest.mark.parametrize("path", ["/docs", "/docs/quickstart", "/docs/errors", "/docs/security", "/docs/query"])
async def test_the_docs_can_be_read_by_everybody(person: Person, path: str) -> None:
    page = await person.open_tab()
    answer = await page.goto(f"{PUBLIC_URL}{path}", wait_until="networkidle")
    assert answer is not None
    assert answer.status == 200
    await assert_accessible(page, path.strip("/").replace("/", "-"))


async def send(page: Page, call: str) -> str:
    """Open the form of a call, send it as it stands, and return what is shown."""
    article = page.locator(f"#{call}")
    await article.locator("details.try > summary").click()
    await article.get_by_role("button", name="Send").click()
    outcome = article.locator(".outcome")
    await expect(outcome.locator("p")).to_be_visible()
    shown: str = await outcome.inner_text()
    return shown


async def test_an_account_is_linked_and_queried_by_the_forms_alone(
    api: Api, person: Person, bank: SandboxClient
) -> None:
    page = await person.open_tab()
    await page.goto(f"{PUBLIC_URL}/docs")
    assert (await send(page, "list_sessions")).startswith("401 Unauthorized")
    await page.get_by_role("link", name="Enter an API key first").click()
    await page.get_by_label("API key", exact=True).fill(api.api_key)
    assert (await send(page, "start_session")).startswith("201 Created")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Open connect_url").click()
    await consent(await opened.value)
    # What the answers before have named stands in the forms.
    assert '"status": "completed"' in await send(page, "get_session")
    answer = await send(page, "query_the_bank")
    assert answer.startswith("200 OK")
    assert "Broker-Token-Version: 1" in answer
    assert (await send(page, "disconnect")).startswith("204 No Content")
    await assert_accessible(page, "docs-tried")


async def test_each_step_is_shown_in_the_language_that_was_chosen(person: Person) -> None:
    page = await person.open_tab()
    await page.goto(f"{PUBLIC_URL}/docs/guides/renew")
    shell, python = page.locator("pre:has(> .language-sh)"), page.locator("pre:has(> .language-python)")
    await expect(shell.first).to_be_visible()
    await page.get_by_label("Python", exact=True).check()
    await expect(shell.first).to_be_hidden()
    await expect(python.first).to_be_visible()
    await assert_accessible(page, "docs-in-python")
    # Where a step is there in one language alone, it stays.
    await page.goto(f"{PUBLIC_URL}/docs/quickstart")
    await expect(page.get_by_label("Python", exact=True)).to_be_checked()
    await expect(page.locator("pre", has_text="make run")).to_be_visible()
    await expect(page.locator("pre", has_text="KEY=brk_")).to_be_hidden()


async def test_a_block_of_code_can_be_copied(person: Person) -> None:
    page = await person.open_tab()
    await person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"{PUBLIC_URL}/docs/quickstart")
    await page.get_by_role("button", name="Copy").first.click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert (await page.evaluate("navigator.clipboard.readText()")).strip() == "make run"


async def test_only_the_link_of_the_answer_itself_is_offered(api: Api, person: Person) -> None:
    await api.start(metadata={"connect_url": f"{PUBLIC_URL}/connect/of-somebody-else"})
    session = await api.start(metadata={"connect_url": "https://evil.example/connect/x"})
    await api.delete(f"/v1/sessions/{session['id']}")
    page = await person.open_tab()
    await page.goto(f"{PUBLIC_URL}/docs")
    await page.get_by_label("API key", exact=True).fill(api.api_key)
    await page.locator("#get_session details.try > summary").click()
    await page.locator("#get_session-session_id").fill(session["id"])
    await page.locator("#get_session").get_by_role("button", name="Send").click()
    await expect(page.locator("#get_session .outcome pre")).to_contain_text("evil.example")
    assert "of-somebody-else" in await send(page, "list_sessions")
    await expect(page.get_by_role("link", name="Open connect_url")).to_have_count(0)


async def test_the_query_page_sends_queries_and_shows_the_schema(
    api: Api, broker: Broker, person: Person, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant)
    page = await person.open_tab()
    await page.goto(f"{PUBLIC_URL}/docs/query")
    await page.get_by_label("API key", exact=True).fill(api.api_key)
    await page.get_by_role("button", name="List connections").click()
    await expect(page.get_by_label("Connection", exact=True)).to_have_value(connection.id)
    await page.get_by_label("Query", exact=True).press("Control+Enter")
    await expect(page.locator("#outcome")).to_contain_text("token version 1")
    await expect(page.locator("#outcome pre")).to_contain_text('"bankAccounts"')
    await page.get_by_role("button", name="Load the schema").click()
    await page.get_by_label("Search types and fields").fill("runningBalance")
    await expect(page.locator("#schema details:visible").first).to_contain_text("Transaction")
    await assert_accessible(page, "docs-query-used")
