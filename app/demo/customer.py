"""A bank's customer at a browser: opens pages, finds the form that fits, fills it in and presses a button."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from app.demo.exchange import open_client, said
from app.demo.expectations import Unexpected
from app.demo.forms import Button, Form, Page, read_page

# What a browser sends if a person opens an address (Fetch Metadata Request Headers). The broker looks at these.
NAVIGATION_HEADERS = {
    "accept": "text/html",
    "sec-fetch-site": "none",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-user": "?1",
}


@dataclass(frozen=True)
class Submission:
    """A form as it was sent, and what came: a page to read, or an address to go to."""

    method: str
    url: str
    fields: list[tuple[str, str]]
    response: httpx.Response


class Customer:
    """Knows some answers, and which buttons to press. Keeps cookies, as a browser does."""

    def __init__(
        self,
        answers: Mapping[str, str],
        presses: Collection[tuple[str, str]],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`answers` by the fields' names; `presses` are names and values of buttons."""
        self._answers = dict(answers)
        self._presses = frozenset(presses)
        self.browser = open_client(transport=transport)

    def open(self, url: str) -> httpx.Response:
        """Open an address, without following where it leads."""
        return self.browser.get(url, headers=NAVIGATION_HEADERS)

    def submit(self, response: httpx.Response) -> Submission:
        """Submit the first form of a page that the customer can. Raises Unexpected where there is none."""
        page = read_page(response.text)
        form, button = self._choose(page, response)
        fields = form.submission(self._answers, button)
        url = urljoin(str(response.url), form.action)
        if form.method == "post":
            answer = self.browser.post(url, data=_by_name(fields))
        else:
            answer = self.browser.get(url, params=_by_name(fields))
        return Submission(form.method.upper(), url, fields, answer)

    def _choose(self, page: Page, response: httpx.Response) -> tuple[Form, Button | None]:
        for form in page.forms:
            if not all(name in self._answers for name in form.to_fill_in):
                continue
            for button in form.buttons:
                if (button.name, button.value) in self._presses:
                    return form, button
            if form.to_fill_in and any(not button.name for button in form.buttons):
                return form, None
        raise Unexpected("a page with a form that the customer can fill in", said(response))


def _by_name(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        grouped.setdefault(name, []).append(value)
    return grouped
