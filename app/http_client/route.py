"""How an origin is reached: where the TCP connection goes, what secures it, and how each request begins."""

import base64
import re
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Visible ASCII: what may stand in a request target (RFC 9112, section 3.2) without a doubt where it ends.
_TARGET = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one origin, made once and used for every connection."""

    host: str
    """Whom to dial: the origin, or its proxy."""
    port: int
    dial_tls: ssl.SSLContext | None
    """What secures the connection from its first byte; the certificate must be for `host`."""
    connect: bytes | None
    """The CONNECT request that opens a tunnel through the proxy, or None."""
    tunnel_tls: ssl.SSLContext | None
    """What secures the tunnel."""
    origin_host: str
    beginning: bytes
    """The request line and the header lines that every request has."""


def route_to(url: str, *, ssl_context: ssl.SSLContext | None, proxy: str | None) -> Route:
    """Work out the way to `url`, an absolute http or https address, straight or through an HTTP proxy.

    Raises ValueError for addresses that cannot be used; userinfo in `url` is refused, as it would be sent nowhere.
    """
    parts, host, port = _parsed(url)
    if parts.username is not None:
        raise ValueError("an origin's address has no user and no password")
    authority = _authority(host, port, parts.scheme)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = None
    if parts.scheme == "https":
        tls = ssl_context or default_tls()
    if proxy is None:
        return Route(host, port, tls, None, None, host, _beginning(target, authority))
    # The environment's variables often leave the scheme of a proxy out.
    proxy_parts, proxy_host, proxy_port = _parsed(proxy if "://" in proxy else f"http://{proxy}")
    dial_tls = default_tls() if proxy_parts.scheme == "https" else None
    credentials = _credentials(proxy_parts)
    if tls is None:
        # RFC 9112, section 3.2.2: a request to a proxy has the absolute form.
        beginning = _beginning(f"http://{authority}{target}", authority) + credentials
        return Route(proxy_host, proxy_port, dial_tls, None, None, host, beginning)
    # RFC 9112, section 3.2.3: the authority form, always with a port.
    bracketed = f"[{host}]" if ":" in host else host
    tunnel = f"CONNECT {bracketed}:{port} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n".encode() + credentials + b"\r\n"
    return Route(proxy_host, proxy_port, dial_tls, tunnel, tls, host, _beginning(target, authority))


def default_tls() -> ssl.SSLContext:
    """Make a context that verifies certificates and host names, and speaks HTTP/1.1."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _parsed(url: str) -> tuple[SplitResult, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("only absolute http and https addresses can be used")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    return parts, host, parts.port or _DEFAULT_PORTS[parts.scheme]


def _authority(host: str, port: int, scheme: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"


def _beginning(target: str, authority: str) -> bytes:
    if not _TARGET.fullmatch(target) or not _TARGET.fullmatch(authority):
        raise ValueError("an address has visible ASCII characters only; encode all others")
    return f"POST {target} HTTP/1.1\r\nHost: {authority}\r\n".encode()


def _credentials(proxy: SplitResult) -> bytes:
    """Write the proxy's user and password as a header line (RFC 7617), if it has any."""
    if proxy.username is None:
        return b""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair.encode()) + b"\r\n"
