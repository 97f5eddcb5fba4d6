"""How the URLs of an origin and its proxy become a route."""

import ssl

import pytest

from app.http_client.route import default_ssl_context, route_to


def _request_head(url: str) -> bytes:
    return route_to(url, ssl_context=None, proxy=None).request_head


def test_the_default_port_is_omitted() -> None:
    assert _request_head("https://api.example/graphql") == b"POST /graphql HTTP/1.1\r\nHost: api.example\r\n"
    assert _request_head("https://api.example:443/graphql") == b"POST /graphql HTTP/1.1\r\nHost: api.example\r\n"
    assert _request_head("http://api.example:443") == b"POST / HTTP/1.1\r\nHost: api.example:443\r\n"
    assert _request_head("http://[::1]:80/?a=b#c") == b"POST /?a=b HTTP/1.1\r\nHost: [::1]\r\n"


def test_an_international_domain_name_is_encoded() -> None:
    assert route_to("https://bücher.example", ssl_context=None, proxy=None).host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/graphql",
        "ftp://a",
        "http://",
        "http://user:pw@a/",
        "http://a/b c",
        "http://a/é",
        "http://a b/",
        "http://a:x",
    ],
)
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        route_to(url, ssl_context=None, proxy=None)
    assert "pw" not in str(caught.value)


def test_a_proxy_that_is_not_http_is_rejected() -> None:
    with pytest.raises(ValueError, match="only absolute http"):
        route_to("https://a", ssl_context=None, proxy="socks5://127.0.0.1:1080")


def test_the_default_tls_context_verifies() -> None:
    context = default_ssl_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_tunnel_to_an_ipv6_address_has_brackets() -> None:
    route = route_to("https://[::1]:8443/x", ssl_context=None, proxy="proxy.example")
    assert route.connect_request == b"CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n"
    assert (route.host, route.port, route.origin_host) == ("proxy.example", 80, "::1")
