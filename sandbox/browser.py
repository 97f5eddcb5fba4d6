"""A user without scripts: reads the forms of the bank's pages and submits them, for tests and the demo."""

from collections.abc import Collection
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx


@dataclass
class PageForm:
    """A form as a browser would submit it."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Hidden inputs and ticked boxes."""
    names: set[str] = field(default_factory=set)
    """All that can be filled in or pressed."""

    def submission(self, filled_in: dict[str, str], ticked: dict[str, Collection[str] | None]) -> dict[str, list[str]]:
        """Return what to send; `ticked` says which boxes of a name stay ticked, None leaves them all."""
        sent: dict[str, list[str]] = {name: [value] for name, value in filled_in.items()}
        for name, value in self.fields:
            keep = ticked.get(name)
            if keep is None or value in keep:
                sent.setdefault(name, []).append(value)
        return sent


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        name, kind = attributes.get("name", ""), attributes.get("type", "")
        if tag == "form":
            self.forms.append(PageForm(attributes["action"]))
        elif tag in ("input", "button") and name:
            self.forms[-1].names.add(name)
            if kind == "hidden" or (kind == "checkbox" and "checked" in attributes):
                self.forms[-1].fields.append((name, attributes.get("value", "")))


def find_form(page: str, name: str) -> PageForm:
    """Return the first form of a page that has an input or button of this name."""
    reader = _FormReader()
    reader.feed(page)
    return next(form for form in reader.forms if name in form.names)


async def submit(
    client: httpx.AsyncClient,
    page: httpx.Response,
    filled_in: dict[str, str],
    ticked: dict[str, Collection[str] | None] | None = None,
) -> httpx.Response:
    """Submit the form of a page that `filled_in` fits, and return what comes, without following it."""
    form = find_form(page.text, next(iter(filled_in)))
    return await client.post(
        urljoin(str(page.url), form.action), data=form.submission(filled_in, ticked or {}), follow_redirects=False
    )


async def log_in_and_decide(
    client: httpx.AsyncClient,
    authorization_url: str,
    *,
    bank: str = "fnb",
    username: str = "thandi",
    password: str = "thandi-123",  # noqa: S107 - shown on the login page
    scopes: Collection[str] | None = None,
    accounts: Collection[str] | None = None,
    decision: str = "allow",
) -> str:
    """Walk from the authorization request to the redirect, and return where that leads.

    `scopes` and `accounts` are what stays ticked; None leaves everything ticked.
    """
    page = await client.get(authorization_url)
    page.raise_for_status()
    for filled_in in ({"bank": bank}, {"username": username, "password": password}):
        page = await submit(client, page, filled_in)
        page.raise_for_status()
    kept_scopes = None if scopes is None else {"openid", *scopes}
    answer = await submit(client, page, {"decision": decision}, {"scope": kept_scopes, "account": accounts})
    return answer.headers["location"]
