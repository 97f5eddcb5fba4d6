"""The cookies that bind a login or interaction to one browser. Each login has its own cookie, with a random secret."""

import re
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from app.settings import Settings

# The form of `randomness.random_urlsafe_text`.
_SECRET_FORM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_NAME_FORM = re.compile(r"(interaction-)?[0-9a-f]{16}")
# Gateways reject requests with more than some kilobytes of cookies.
MAX_COOKIES = 30
# Gateways and browsers allow less. Parsing more would take too long.
_MAX_HEADER_LENGTH = 16_384
# How long after the end of a login its browser can still be shown the outcome or the confirmation code.
_GRACE_SECONDS = 600


class BrowserCookies:
    """The secrets in the cookies of one request, by the name of the login or interaction."""

    def __init__(self, request: Request, settings: Settings) -> None:
        is_https = urlsplit(settings.public_url).scheme == "https"
        # Browsers accept the prefix only with Secure, Path=/ and without Domain (RFC 6265bis section 4.1.3.2).
        self._prefix = "__Host-broker-" if is_https else "broker-"
        self._max_age = int(settings.session_ttl + _GRACE_SECONDS)
        self._attributes: dict[str, Any] = {"path": "/", "secure": is_https, "httponly": True, "samesite": "lax"}
        self._secrets = {
            cookie.removeprefix(self._prefix): secret
            for cookie, secret in _parse_cookies(request.headers.getlist("cookie")).items()
            if cookie.startswith(self._prefix)
        }

    def secret(self, name: str) -> str | None:
        """Return the browser's secret for one login or interaction, if it has one."""
        return self._secrets.get(name)

    def secrets(self, prefix: str) -> list[str]:
        """Return the browser's secrets of all names with this prefix, oldest first (RFC 6265 section 5.4)."""
        return [secret for name, secret in self._secrets.items() if name.startswith(prefix)]

    def bind(self, response: Response, name: str, secret: str) -> None:
        """Set the cookie of a login or interaction, and delete the oldest cookies if there are too many."""
        # Only names that the broker sets: other cookies may have been planted, under names that cannot be set.
        names = [other for other in self._secrets if other != name and _NAME_FORM.fullmatch(other)]
        for other in names[: 1 - MAX_COOKIES]:
            response.delete_cookie(self._prefix + other, **self._attributes)
        response.set_cookie(self._prefix + name, secret, max_age=self._max_age, **self._attributes)


def _parse_cookies(headers: list[str]) -> dict[str, str]:
    """Return the cookies whose value has the form of a secret, without those whose name is repeated.

    Starlette's parser is not used. It strips other characters than blanks from a name, so that a cookie without the
    `__Host-` prefix could pass for one with it. It also unquotes values, which takes quadratic time in Python before
    3.11.10 (CVE-2024-7592).
    """
    secrets: dict[str, str] = {}
    repeated: set[str] = set()
    for header in headers:
        if len(header) > _MAX_HEADER_LENGTH:
            continue
        for cookie in header.split(";"):
            name, _, value = cookie.strip(" \t").partition("=")
            if _SECRET_FORM.fullmatch(value):
                if name in secrets:
                    repeated.add(name)
                secrets[name] = value
    return {name: value for name, value in secrets.items() if name not in repeated}
