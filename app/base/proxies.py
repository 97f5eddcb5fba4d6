"""The HTTP proxy that the environment names for an address, by the usual variables.

Asked here rather than by the HTTP client, which would look at the environment and at ~/.netrc for every request, and
would add the credentials that it finds there to requests that carry their own.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """Return the address of the proxy for `url`, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, or None."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
