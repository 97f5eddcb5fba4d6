"""Checks of URLs that the broker sends requests or browsers to."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def require_https_or_loopback(url: str) -> None:
    """Raise ValueError unless it is safe to send a secret to `url`: by HTTPS, or by HTTP to this machine."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("must not contain spaces or control characters")
    parts = urlsplit(url)
    # The property raises ValueError for an invalid port.
    _ = parts.port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an https:// URL")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("must have a valid host name: its labels have 1 to 63 characters each") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("must be an https:// URL; http:// is allowed for loopback only")


def is_https_or_loopback(url: str) -> bool:
    """Return whether it is safe to send a secret to `url`: by HTTPS, or by HTTP to this machine."""
    try:
        require_https_or_loopback(url)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
