"""Which proxy a URL is reached through, by the variables of the environment."""

import pytest

from app.base.proxies import check_proxies, proxy_for
from app.errors import ConfigurationError
from app.http_client.route import route_to

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"https_proxy": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": "http://proxy.example:3128/"}, PROXY),
        ({"HTTPS_PROXY": " http://proxy.example:3128 "}, PROXY),
        ({"HTTPS_PROXY": "http://other.example", "https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "https_proxy": ""}, None),
        ({"http_proxy": PROXY}, None),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"ALL_PROXY": "socks5h://127.0.0.1:1080", "HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "http://user:p%40ss@[::1]:3128"}, "http://user:p%40ss@[::1]:3128"),
    ],
)
def test_the_variable_of_the_scheme_comes_before_all_proxy(environment: dict[str, str], expected: str | None) -> None:
    proxy = proxy_for("https://api.stitch.money/graphql", environment)
    assert proxy == expected
    if proxy is not None:
        assert route_to("https://api.stitch.money/graphql", ssl_context=None, proxy=proxy).connect_request


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_exempt"),
    [
        ("https://api.stitch.money/", "*", True),
        ("https://api.stitch.money/", "stitch.money", True),
        ("https://api.stitch.money/", "localhost, .Stitch.money", True),
        ("https://api.stitch.money/", "*.stitch.money", True),
        ("https://api.stitch.money/", "notstitch.money,itch.money", False),
        ("https://api.stitch.money/", "api.stitch.money:443", True),
        ("https://api.stitch.money/", "api.stitch.money:8443", False),
        ("https://api.stitch.money:8443/", "stitch.money:8443", True),
        ("https://10.1.2.3/", "10.0.0.0/8", True),
        ("https://11.1.2.3/", "10.0.0.0/8", False),
        ("https://10.1.2.3/", "10.1.2.3", True),
        ("https://10.1.2.3:9/", "10.1.2.3:9", True),
        ("https://[fd00::1]/", "fd00::/8", True),
        ("https://[::1]/", "::1", True),
        ("https://[::1]/", "[::1]:443", True),
        ("https://api.stitch.money/", "10.0.0.0/8", False),
    ],
)
def test_no_proxy_names_hosts_ports_and_networks(url: str, no_proxy: str, *, is_exempt: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(url, {"HTTPS_PROXY": PROXY, name: no_proxy}) is None) is is_exempt


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ALL_PROXY", "socks5h://user:planted@127.0.0.1:1080", "SOCKS proxies are not supported"),
        ("all_proxy", "socks5://127.0.0.1:1080", "SOCKS proxies are not supported"),
        ("https_proxy", "http://planted@proxy.example:99999", "port"),
        ("HTTPS_PROXY", "proxy.example:0", "port"),
        ("HTTPS_PROXY", "proxy.example:planted", "port"),
        ("HTTP_PROXY", "ftp://planted.example", "http://"),
        ("http_proxy", "http://", "address of an HTTP proxy"),
        ("http_proxy", "http://proxy.example/planted", "address of an HTTP proxy"),
        ("http_proxy", "pro xy:3128", "address of an HTTP proxy"),
        ("NO_PROXY", "10.0.0.0/99", "not a network"),
        ("no_proxy", "localhost,host:99999", "not a host"),
        ("NO_PROXY", "https://a.example/", "not a network"),
    ],
)
def test_a_value_that_cannot_be_used_is_reported_with_its_variable(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as error:
        check_proxies({name: value})
    assert error.value.detail.startswith(f"{name}: ")
    assert "planted" not in error.value.detail


def test_a_variable_that_is_never_used_is_not_reported() -> None:
    check_proxies({"ALL_PROXY": "socks5h://127.0.0.1:1080", "NO_PROXY": "*"})
    check_proxies({"ALL_PROXY": "socks5h://127.0.0.1:1080", "HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY})
