"""A bank's customer with a browser: opens pages, fills in the form that fits, and presses a button."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from app.demo.exchange import body_excerpt, open_client
from app.demo.expectations import Unexpected
from app.demo.forms import Button, Form, Page, read_page

# What a browser sends when a person opens a URL (Fetch Metadata Request Headers). The broker checks them.
NAVIGATION_HEADERS = {
    "accept": "text/html",
    "sec-fetch-site": "none",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-user": "?1",
}


@dataclass(frozen=True)
class Submission:
    """A form as it was submitted, and the response: a page or a redirect."""

    method: str
    url: str
    fields: list[tuple[str, str]]
    response: httpx.Response


class Customer:
    """Knows what to type and which buttons to press. Keeps cookies, as a browser does."""

    def __init__(
        self,
        values: Mapping[str, str],
        buttons: Collection[tuple[str, str]],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`values` are keyed by the names of fields; `buttons` are names and values of buttons."""
        self._values = dict(values)
        self._buttons = frozenset(buttons)
        self.browser = open_client(transport=transport)

    def open(self, url: str) -> httpx.Response:
        """Open a URL, without following a redirect."""
        return self.browser.get(url, headers=NAVIGATION_HEADERS)

    def submit(self, response: httpx.Response) -> Submission:
        """Submit the first form of a page that the customer can fill in. Raises Unexpected if there is none."""
        page = read_page(response.text)
        form, button = self._choose(page, response)
        fields = form.submission(self._values, button)
        url = urljoin(str(response.url), form.action)
        if form.method == "post":
            result = self.browser.post(url, data=_by_name(fields))
        else:
            result = self.browser.get(url, params=_by_name(fields))
        return Submission(form.method.upper(), url, fields, result)

    def _choose(self, page: Page, response: httpx.Response) -> tuple[Form, Button | None]:
        for form in page.forms:
            if not all(name in self._values for name in form.to_fill_in):
                continue
            for button in form.buttons:
                if (button.name, button.value) in self._buttons:
                    return form, button
            if form.to_fill_in and any(not button.name for button in form.buttons):
                return form, None
        raise Unexpected("a page with a form that the customer can fill in", body_excerpt(response))


def _by_name(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = {}
    for name, value in fields:
        by_name.setdefault(name, []).append(value)
    return by_name
