"""HEAD: the headers of a GET, without its body (RFC 9110 section 9.3.2)."""

import pytest

from tests.support.broker import Api


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/static/pages.css", "/v1/sessions", "/v1/audit"]
)
async def test_what_can_be_got_can_be_looked_at(api: Api, path: str) -> None:
    got, looked = await api.get(path), await api.head(path)
    assert (looked.status_code, looked.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "content-security-policy"):
        assert looked.headers.get(name) == got.headers.get(name)


async def test_refusals_are_the_same(api: Api) -> None:
    assert (await api.head("/v1/sessions/ses_unknown")).status_code == 404
    assert (await api.head("/v1/sessions", headers={"authorization": "Bearer wrong"})).status_code == 401


@pytest.mark.parametrize("path", ["/v1/connections/con_1/token", "/v1/connections/con_1/graphql"])
async def test_what_can_only_be_posted_to_cannot(api: Api, path: str) -> None:
    looked = await api.head(path)
    assert (looked.status_code, looked.headers["allow"]) == (405, "POST")
