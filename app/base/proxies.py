"""Chooses the HTTP proxy for a URL by the usual environment variables.

The HTTP clients do not do this themselves: they would read the environment and ~/.netrc for every request, and would
add credentials from there to requests that carry their own.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy for `url` according to HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or None."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
