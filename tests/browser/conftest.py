"""A real Chromium with a real broker, at the public URL to which the sandbox bank redirects."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright
from pydantic import SecretStr

from tests.support.broker import Api, Broker, served, settings_for

PUBLIC_URL = "http://localhost:8000"
SIZES: dict[str, Any] = {"wide": {"width": 1_280, "height": 800}, "phone": {"width": 360, "height": 740}}
# The directory for screenshots of every page. None: take none.
_PICTURES = os.environ.get("PICTURES")


@pytest.fixture
async def broker(bank_url: str, database_url: SecretStr, tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker with its own database."""
    async with served(settings_for(bank_url, database_url, tmp_path, public_url=PUBLIC_URL, query_page=True)) as broker:
        yield broker


@pytest.fixture
async def api(broker: Broker) -> AsyncIterator[Api]:
    """A caller with all permissions."""
    async with await broker.sign_up() as api:
        yield api


@pytest.fixture
async def chromium(broker: Broker) -> AsyncIterator[Chromium]:
    """Chromium, which resolves the public URL to the broker."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                f"--host-resolver-rules=MAP localhost:8000 {urlsplit(broker.url).netloc}",
            ],
        )
        yield browser
        await browser.close()


@dataclass
class Person:
    """A person with a browser. Collects the errors and warnings of the browser's console."""

    context: BrowserContext
    console_errors: list[str] = field(default_factory=list)

    async def open_tab(self) -> Page:
        """Open a new tab."""
        page = await self.context.new_page()
        page.on("console", self._record)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        return page

    def _record(self, message: ConsoleMessage) -> None:
        # Some tests expect responses with status 400.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.console_errors.append(message.text)


@pytest.fixture
async def new_person(chromium: Chromium) -> AsyncIterator[Callable[[], object]]:
    """Makes people, each with a browser of their own. None of them may see errors in the console."""
    people: list[Person] = []

    async def make() -> Person:
        people.append(Person(await chromium.new_context()))
        return people[-1]

    yield make
    for person in people:
        await person.context.close()
    assert [error for person in people for error in person.console_errors] == []


@pytest.fixture
async def person(new_person: Callable[[], object]) -> Person:
    """The user."""
    return await new_person()  # type: ignore[misc,no-any-return]


async def assert_accessible(page: Page, name: str) -> None:
    """Check a page with axe, in light and dark, on a wide screen and a phone, and that nothing scrolls sideways."""
    for scheme in ("light", "dark"):
        for width, size in SIZES.items():
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.set_viewport_size(size)
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{name}, {scheme}, {width}: {found.generate_report()}"
            assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name}, {width}"
            if _PICTURES:
                await page.screenshot(path=Path(_PICTURES) / f"{name}-{scheme}-{width}.png")
