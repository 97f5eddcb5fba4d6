"""HEAD: the headers of a GET, without its body (RFC 9110 section 9.3.2)."""

import pytest

from tests.support.broker import Api


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/static/pages.css", "/v1/sessions", "/v1/audit"]
)
async def test_head_has_the_headers_of_get(api: Api, path: str) -> None:
    get, head = await api.get(path), await api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "content-security-policy"):
        assert head.headers.get(name) == get.headers.get(name)


async def test_head_is_rejected_like_get(api: Api) -> None:
    assert (await api.head("/v1/sessions/ses_unknown")).status_code == 404
    assert (await api.head("/v1/sessions", headers={"authorization": "Bearer wrong"})).status_code == 401


@pytest.mark.parametrize("path", ["/v1/connections/con_1/token", "/v1/connections/con_1/graphql"])
async def test_head_is_not_allowed_where_only_post_is(api: Api, path: str) -> None:
    head = await api.head(path)
    assert (head.status_code, head.headers["allow"]) == (405, "POST")
