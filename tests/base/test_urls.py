from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.urls import is_https_or_loopback


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:9000/x", "http://broker.localhost", "http://127.9.9.9"],
)
def test_http_is_allowed_on_loopback(url: str) -> None:
    assert is_https_or_loopback(url)


@given(st.text(alphabet="abc.:/@[]#?\\1270", max_size=20))
def test_http_is_allowed_nowhere_else(rest: str) -> None:
    url = f"http://{rest}"
    if is_https_or_loopback(url):
        host = urlsplit(url).hostname or ""
        assert host in ("localhost", "::1") or host.startswith("127.")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://broker.example",
        "https://",
        "https://user@broker.example",
        "https://broker.example:99999",
        "https://broker.example/a b",
        "https://broker.example/\x00",
        f"https://{'a' * 64}.example",
    ],
)
def test_malformed_urls_and_urls_with_credentials_are_refused(url: str) -> None:
    assert not is_https_or_loopback(url)
