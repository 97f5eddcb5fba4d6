"""Opens the callback, and checks what all of its pages have in common."""

from html.parser import HTMLParser

import httpx

from tests.support.broker import Browser
from tests.support.journey import parameters_of


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(name)


def parse_page(response: httpx.Response) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(response.text)
    return page


def page_of(response: httpx.Response) -> Page:
    """Check what all pages have in common, and return the parsed page."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    policy = dict(part.strip().partition(" ")[::2] for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    page = parse_page(response)
    assert not {"script", "style", "form", "iframe"} & set(page.tags)
    assert page.inline == []
    assert all(address.startswith("/static/") for address in page.addresses)
    return page


async def call_back(browser: Browser, session: dict[str, str], **parameters: str) -> httpx.Response:
    """Open the callback with the session's state and these parameters."""
    state = parameters_of(session["authorization_url"])["state"]
    return await browser.get("/callback", params={"state": state, **parameters})
