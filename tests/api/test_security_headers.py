"""Security headers are on every page, and scripts of other origins can read nothing."""

import pytest

from tests.support.broker import Api, Browser

PAGES = ["/callback", "/callback?state=unknown", "/connect/unknown", "/docs", "/docs/quickstart", "/docs/security"]
ORIGIN = {"origin": "https://evil.example"}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("headers", [{}, {"sec-purpose": "prefetch"}])
async def test_every_page_has_security_headers(browser: Browser, path: str, headers: dict[str, str]) -> None:
    response = await browser.get(path, headers=headers)
    policy = dict(part.strip().partition(" ")[::2] for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[directive] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert "permissions-policy" in response.headers


@pytest.mark.parametrize("path", [*PAGES, "/v1/sessions", "/v1/connections/x", "/openapi.json", "/healthz", "/metrics"])
async def test_scripts_of_other_origins_can_read_nothing(api: Api, path: str) -> None:
    preflight = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    for response in (await api.get(path, headers=ORIGIN), await api.options(path, headers=ORIGIN | preflight)):
        assert [name for name in response.headers if name.startswith("access-control-")] == []
    assert (await api.options(path, headers=ORIGIN | preflight)).status_code == 405


async def test_a_query_from_another_origin_is_not_allowed(api: Api) -> None:
    response = await api.options("/v1/connections/x/graphql", headers=ORIGIN)
    assert response.status_code == 405
    assert [name for name in response.headers if name.startswith("access-control-")] == []
