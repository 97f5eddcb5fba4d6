"""The headers that hold browsers back, on every page; and nothing for scripts of other origins."""

import pytest

from tests.support.broker import Api, Browser

PAGES = ["/callback", "/callback?state=unknown", "/connect/unknown", "/docs", "/docs/quickstart", "/docs/security"]
ORIGIN = {"origin": "https://evil.example"}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("how", [{}, {"sec-purpose": "prefetch"}])
async def test_every_page_is_fenced_in(browser: Browser, path: str, how: dict[str, str]) -> None:
    answer = await browser.get(path, headers=how)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[directive] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "permissions-policy" in answer.headers


@pytest.mark.parametrize("path", [*PAGES, "/v1/sessions", "/v1/connections/x", "/openapi.json", "/healthz", "/metrics"])
async def test_other_origins_may_read_nothing(api: Api, path: str) -> None:
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    for answer in (await api.get(path, headers=ORIGIN), await api.options(path, headers=ORIGIN | asked)):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
    assert (await api.options(path, headers=ORIGIN | asked)).status_code == 405


async def test_a_query_from_another_origin_is_not_let_in(api: Api) -> None:
    answer = await api.options("/v1/connections/x/graphql", headers=ORIGIN)
    assert answer.status_code == 405
    assert [name for name in answer.headers if name.startswith("access-control-")] == []
