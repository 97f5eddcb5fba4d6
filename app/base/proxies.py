"""Chooses the HTTP proxy for a URL by the usual environment variables, and rejects those that cannot be used.

The HTTP clients do not do this themselves: they would read the environment and ~/.netrc for every request, and would
add credentials from there to requests that carry their own. Both clients of the broker must reach the same decision.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from app.errors import ConfigurationError

_SCHEMES = ("http", "https")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[!-~]+")
# A host name, a suffix of one or an IPv4 address, or an IPv6 address in brackets; with or without a port.
_NO_PROXY_ENTRY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/\s]+)(?::(?P<port>[0-9]{1,5}))?")


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the URL of the proxy for `url` according to HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or None.

    As usual, the variables may be in lower case, which takes precedence, and a proxy's scheme may be missing, which
    means http. Raises ConfigurationError if the variable has no usable value.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        return None  # no URL that either HTTP client would request
    if _is_exempt(parts.hostname.lower(), port, environment):
        return None
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        name, value = _read(variable, environment)
        if value:
            return _checked(name, value)
    return None


def check_proxies(environment: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigurationError, which names the variable, if a proxy variable has no usable value."""
    # Host names that are not in NO_PROXY, unless it is `*`.
    for scheme in _SCHEMES:
        proxy_for(f"{scheme}://host.invalid", environment)


def _read(variable: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the value of a variable. An empty one in lower case hides the one in upper case."""
    name = variable if variable in environment else variable.upper()
    return name, environment.get(name, "").strip()


def _checked(name: str, value: str) -> str:
    """Return the proxy's URL. The value is not quoted in errors, since it may have a password."""
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{name}: the port must be a number from 1 to 65535") from None
    if parts.scheme.startswith("socks"):
        raise ConfigurationError(f"{name}: SOCKS proxies are not supported; give the address of an HTTP proxy")
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(f"{name}: the proxy's address must begin with http:// or https://")
    if port == 0:
        raise ConfigurationError(f"{name}: the port must be a number from 1 to 65535")
    if not parts.hostname or not _AUTHORITY.fullmatch(parts.netloc) or parts.path.strip("/") or parts.query:
        raise ConfigurationError(f"{name}: must be the address of an HTTP proxy, such as http://proxy.example:3128")
    return f"{parts.scheme}://{parts.netloc}"


def _is_exempt(host: str, port: int, environment: Mapping[str, str]) -> bool:
    """Return whether NO_PROXY names a host: `*`, a domain and all below it, an address, or a network."""
    name, value = _read("no_proxy", environment)
    # Each entry is looked at, so that a faulty one is reported whatever the host.
    matches = [_matches(entry, host, port, name) for entry in re.split(r"[,\s]+", value) if entry]
    return any(matches)


def _matches(entry: str, host: str, port: int, name: str) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry or _address(entry) is not None:
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            raise ConfigurationError(f"{name}: {entry!r} is not a network, such as 10.0.0.0/8") from None
        return address is not None and address in network
    match = _NO_PROXY_ENTRY.fullmatch(entry)
    if match is None or not 0 < int(match["port"] or 1) <= 65_535:
        raise ConfigurationError(f"{name}: {entry!r} is not a host, host:port or network")
    if match["port"] is not None and int(match["port"]) != port:
        return False
    expected = match["host"].strip("[]").lower().removeprefix("*").lstrip(".")
    expected_address = _address(expected)
    if expected_address is not None:
        return address == expected_address
    return host == expected or host.endswith(f".{expected}")


def _address(host: str) -> object:
    try:
        return ip_address(host)
    except ValueError:
        return None
