"""How an origin is reached: the address to connect to, the TLS settings, and the start of every request."""

import base64
import re
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Visible ASCII: what a request target may contain (RFC 9112, section 3.2) so that its end is unambiguous.
_TARGET = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Route:
    """The route to one origin. It is made once and used for every connection."""

    host: str
    """The host to connect to: the origin, or its proxy."""
    port: int
    ssl_context: ssl.SSLContext | None
    """TLS for the connection to `host`, whose certificate must be valid for that name. None for plain TCP."""
    connect_request: bytes | None
    """The CONNECT request that opens a tunnel through the proxy, or None without a tunnel."""
    tunnel_ssl_context: ssl.SSLContext | None
    """TLS inside the tunnel, whose certificate must be valid for `origin_host`."""
    origin_host: str
    request_head: bytes
    """The request line and the header lines that all requests share."""


def route_to(url: str, *, ssl_context: ssl.SSLContext | None, proxy: str | None) -> Route:
    """Return the route to `url`, an absolute http or https URL, directly or through an HTTP proxy.

    Raises ValueError if a URL cannot be used. User information in `url` is rejected, since it would not be sent.
    """
    parts, host, port = _parse(url)
    if parts.username is not None:
        raise ValueError("an origin's address has no user and no password")
    authority = _authority(host, port, parts.scheme)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    origin_tls = None
    if parts.scheme == "https":
        origin_tls = ssl_context or default_ssl_context()
    if proxy is None:
        return Route(host, port, origin_tls, None, None, host, _request_head(target, authority))
    # Proxy variables in the environment often have no scheme.
    proxy_parts, proxy_host, proxy_port = _parse(proxy if "://" in proxy else f"http://{proxy}")
    proxy_tls = default_ssl_context() if proxy_parts.scheme == "https" else None
    authorization = _proxy_authorization(proxy_parts)
    if origin_tls is None:
        # RFC 9112, section 3.2.2: a request to a proxy has the absolute form.
        request_head = _request_head(f"http://{authority}{target}", authority) + authorization
        return Route(proxy_host, proxy_port, proxy_tls, None, None, host, request_head)
    # RFC 9112, section 3.2.3: the authority form, always with a port.
    bracketed = f"[{host}]" if ":" in host else host
    connect_request = (
        f"CONNECT {bracketed}:{port} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n".encode() + authorization + b"\r\n"
    )
    request_head = _request_head(target, authority)
    return Route(proxy_host, proxy_port, proxy_tls, connect_request, origin_tls, host, request_head)


def default_ssl_context() -> ssl.SSLContext:
    """Return a context that verifies certificates and host names and offers HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _parse(url: str) -> tuple[SplitResult, str, int]:
    """Return the parts of a URL, its host in ASCII, and its port."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("only absolute http and https addresses can be used")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    return parts, host, parts.port or _DEFAULT_PORTS[parts.scheme]


def _authority(host: str, port: int, scheme: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"


def _request_head(target: str, authority: str) -> bytes:
    if not _TARGET.fullmatch(target) or not _TARGET.fullmatch(authority):
        raise ValueError("an address has visible ASCII characters only; encode all others")
    return f"POST {target} HTTP/1.1\r\nHost: {authority}\r\n".encode()


def _proxy_authorization(proxy: SplitResult) -> bytes:
    """Return the proxy's user and password as a header line (RFC 7617), or nothing if it has none."""
    if proxy.username is None:
        return b""
    credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return b"Proxy-Authorization: Basic " + base64.b64encode(credentials.encode()) + b"\r\n"
