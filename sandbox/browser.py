"""A minimal browser without scripts: parses the forms of the bank's pages and submits them. For tests and demos."""

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
    """Name and value of each hidden input and each ticked check box."""
    names: set[str] = field(default_factory=set)
    """The names of all inputs and buttons."""

    def submission(self, filled_in: dict[str, str], ticked: dict[str, Collection[str] | None]) -> dict[str, list[str]]:
        """Return the form data to send. `ticked` maps the name of check boxes to the values that stay ticked.

        None, or a missing name, leaves all of them ticked.
        """
        form_data: dict[str, list[str]] = {name: [value] for name, value in filled_in.items()}
        for name, value in self.fields:
            kept_values = ticked.get(name)
            if kept_values is None or value in kept_values:
                form_data.setdefault(name, []).append(value)
        return form_data


class _FormParser(HTMLParser):
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
    """Return the first form of a page that has an input or a button with this name."""
    parser = _FormParser()
    parser.feed(page)
    return next(form for form in parser.forms if name in form.names)


async def submit(
    client: httpx.AsyncClient,
    page: httpx.Response,
    filled_in: dict[str, str],
    ticked: dict[str, Collection[str] | None] | None = None,
) -> httpx.Response:
    """Submit the form that has the first field of `filled_in`, and return the response; redirects are not followed."""
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
    """Go through the bank's pages, and return the URL that the last one redirects to.

    `scopes` and `accounts` are the values that stay ticked; None leaves all of them ticked.
    """
    page = await client.get(authorization_url)
    page.raise_for_status()
    for filled_in in ({"bank": bank}, {"username": username, "password": password}):
        page = await submit(client, page, filled_in)
        page.raise_for_status()
    kept_scopes = None if scopes is None else {"openid", *scopes}
    response = await submit(client, page, {"decision": decision}, {"scope": kept_scopes, "account": accounts})
    return response.headers["location"]
