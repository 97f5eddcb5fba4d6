"""The steps of a user's login, over HTTP."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from sandbox.client import SandboxClient
from tests.support.broker import Api, Browser
from tests.support.replica import consent


async def log_in(
    api: Api, bank: SandboxClient, browser: Browser, *, username: str = "thandi", **request: Any
) -> tuple[dict[str, Any], httpx.Response]:
    """Start a session, open its link, consent at the bank and return. Returns the session and the last response."""
    session = await api.start(**request)
    location = await go_to_bank(bank, browser, session, username=username)
    shown = await browser.open(location)
    return await api.session(session["id"]), shown


async def go_to_bank(
    bank: SandboxClient,
    browser: Browser,
    session: dict[str, Any],
    *,
    username: str = "thandi",
    decision: str = "allow",
    scopes: list[str] | None = None,
) -> str:
    """Open a session's link and decide at the bank. Returns the URL that the bank redirects the browser to."""
    opened = await browser.open(session["connect_url"])
    assert opened.status_code == 303, opened.text
    return await consent(bank, opened.headers["location"], username=username, decision=decision, scopes=scopes)


def parameters_of(url: str) -> dict[str, str]:
    """Return the query parameters of a URL, none of which may be repeated."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    values = dict(pairs)
    assert len(values) == len(pairs)
    return values
