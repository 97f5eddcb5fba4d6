"""`/docs` and `/openapi.json`."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest

from app.callers.permissions import Permission
from tests.api.conftest import BrokerFactory
from tests.support.broker import Browser
from tests.support.openapi import openapi_document

# Every documented call.
CALLS = {
    ("/v1/sessions", "post"),
    ("/v1/sessions", "get"),
    ("/v1/sessions/{session_id}", "get"),
    ("/v1/sessions/{session_id}/confirm", "post"),
    ("/v1/sessions/{session_id}", "delete"),
    ("/connect/{ticket}", "get"),
    ("/connect/{ticket}", "post"),
    ("/callback", "get"),
    ("/v1/connections", "get"),
    ("/v1/connections/{connection_id}", "get"),
    ("/v1/connections/{connection_id}/refresh", "post"),
    ("/v1/connections/{connection_id}", "delete"),
    ("/v1/users/{user_id}", "delete"),
    ("/v1/connections/{connection_id}/token", "post"),
    ("/v1/connections/{connection_id}/graphql", "post"),
    ("/v1/callers", "get"),
    ("/v1/callers", "post"),
    ("/v1/callers/{caller_id}", "delete"),
    ("/v1/callers/{caller_id}/keys", "get"),
    ("/v1/callers/{caller_id}/keys", "post"),
    ("/v1/callers/{caller_id}/keys/{key_id}", "delete"),
    ("/v1/audit", "get"),
    ("/healthz", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
}
DOCUMENT = openapi_document()
OPERATIONS = [(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations]
VERSIONED = [(path, method) for path, method in OPERATIONS if path.startswith("/v1/")]
COLLECTION = "/docs/postman.json"


class _Page(HTMLParser):
    """The assets, links and ids of a page, and inline code, which its policy forbids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.assets: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "style" or (tag == "script" and not values.get("src")):
            self.inline.append(tag)
        self.inline += [name for name in values if name == "style" or name.startswith("on")]
        self.ids += [value for name, value in values.items() if name == "id" and value]
        if tag == "a":
            self.links.append(values.get("href") or "")
        else:
            self.assets += [value for name, value in values.items() if name in ("src", "href") and value]


async def _open(browser: Browser, path: str) -> _Page:
    response = await browser.get(path)
    assert response.status_code == 200, path
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    return _Page(response.text)


@pytest.mark.parametrize("path", ["/docs", "/docs/quickstart", "/docs/guides/web-app"])
async def test_the_docs_load_nothing_from_other_servers(browser: Browser, path: str) -> None:
    shown = await _open(browser, path)
    assert shown.inline == []
    assert len(shown.ids) == len(set(shown.ids))
    assert len(shown.assets) == 4
    for address in shown.assets:
        assert "//" not in address
        asset = await browser.get(urljoin(path, address))
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in asset.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in asset.text
        assert "@import" not in asset.text


async def test_every_link_within_the_docs_leads_somewhere(browser: Browser) -> None:
    opened: dict[str, _Page] = {}
    missing, to_open = [], {"/docs"}
    while to_open:
        path = to_open.pop()
        opened[path] = await _open(browser, path)
        for link in opened[path].links:
            target, _ = urldefrag(urljoin(path, link))
            if target.startswith("/docs") and target not in {*opened, COLLECTION}:
                to_open.add(target)
    for path, shown in opened.items():
        for link in shown.links:
            target, fragment = urldefrag(urljoin(path, link))
            if fragment and target in opened and fragment not in opened[target].ids:
                missing.append(f"{path}: {link}")
    assert missing == []
    assert {"/docs/errors", "/docs/guides/renew"} <= opened.keys()
    assert f"../{COLLECTION.removeprefix('/')}" in opened["/docs/quickstart"].links
    assert (await browser.get(COLLECTION)).json()["info"]["name"]


async def test_an_unknown_page_is_not_found(browser: Browser) -> None:
    for path in ("/docs/nothing", "/docs/../README", "/docs/decisions/0007-api-keys", "/docs/operations"):
        assert (await browser.get(path)).status_code == 404


async def test_the_document_is_served(browser: Browser) -> None:
    response = await browser.get("/openapi.json")
    assert response.status_code == 200
    assert response.json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_call_of_the_contract_is_described() -> None:
    assert set(OPERATIONS) >= CALLS


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_a_call_has_a_description_its_permission_and_its_errors(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    assert operation["summary"]
    assert operation["tags"]
    assert operation["description"]
    if path.startswith("/v1/"):
        (permission,) = operation["security"][0]["API key"]
        assert permission in set(Permission)
        assert {"401", "403", "503"} <= operation["responses"].keys()


def test_errors_have_their_media_type_schema_and_examples() -> None:
    wrong = []
    for path, method in VERSIONED:
        expected = "application/json" if path.endswith("/graphql") else "application/problem+json"
        for status, response in DOCUMENT["paths"][path][method]["responses"].items():
            if status == "default" or int(status) < 400:
                continue
            content = response["content"].get(expected, {})
            if list(response["content"]) != [expected] or not content.get("schema") or not content.get("examples"):
                wrong.append(f"{method} {path} {status}")
    assert wrong == []


def test_requests_and_responses_have_examples() -> None:
    wrong = []
    for path, method in VERSIONED:
        operation = DOCUMENT["paths"][path][method]
        body = operation.get("requestBody")
        if body is not None and not has_example(body["content"]["application/json"]):
            wrong.append(f"{method} {path}")
        for status, response in operation["responses"].items():
            if status in ("200", "201") and not has_example(response["content"]["application/json"]):
                wrong.append(f"{method} {path} {status}")
    assert wrong == []


def has_example(content: Any) -> bool:
    """Return whether there is an example here or in the schema that is referred to."""
    if "example" in content or "examples" in content:
        return True
    schema = content.get("schema", content)
    for alternative in (schema, *schema.get("anyOf", [])):
        name = alternative.get("$ref", "").rpartition("/")[2]
        if not name:
            continue
        resolved = DOCUMENT["components"]["schemas"][name]
        members = [resolved, *resolved.get("properties", {}).values()]
        if any("example" in member or "examples" in member for member in members):
            return True
        items = resolved.get("properties", {}).get("items", {}).get("items")
        if items and has_example({"schema": items}):
            return True
    return False


def test_the_document_lists_every_code_of_the_query_path() -> None:
    schema = DOCUMENT["components"]["schemas"]["GraphQLError"]
    codes = schema["properties"]["errors"]["items"]["properties"]["extensions"]["properties"]["code"]["enum"]
    assert set(codes) == {
        *("UNAUTHORIZED_CALLER", "PERMISSION_DENIED", "CONNECTION_NOT_FOUND", "REAUTHORIZATION_REQUIRED"),
        *("CONNECTION_NOT_READY", "CONNECTION_REVOKED", "REQUEST_TOO_LARGE", "BAD_REQUEST", "RATE_LIMITED"),
        *("BANK_UNAVAILABLE", "BANK_TIMEOUT", "BROKER_UNAVAILABLE"),
    }


async def test_the_query_page_is_off_by_default(browser: Browser, brokers: BrokerFactory) -> None:
    assert (await browser.get("/docs/query")).status_code == 404
    broker = await brokers(query_page=True)
    async with broker.new_browser() as other:
        shown = await _open(other, "/docs/query")
        assert shown.inline == []
        assert len(shown.assets) == 4
        assert "docs/query" in {link.removeprefix("../") for link in (await _open(other, "/docs")).links}
