"""What all pages for browsers have in common: they know their browser by a cookie, and do nothing for a prefetch."""

import re
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from app.api.pages import SECURITY_HEADERS, page
from app.api.request_context import request_id_of, was_head
from app.errors import BrokerError
from app.observability.logs import get_logger
from app.runtime import Runtime

# Fetch section 3.9, and what browsers sent before it.
_PREFETCH = ("sec-purpose", "purpose", "x-purpose", "x-moz")
# The form of `randomness.random_urlsafe_text`.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
# What stands for a login in the names of cookies.
_LOGIN = re.compile(r"(interaction-)?[0-9a-f]{16}")
MOST_KEPT = 30
# What gateways and browsers let through is less; looking into more takes a while.
_LONGEST_COOKIES = 16_384
# For so long after a login's time a browser may still be shown what became of it, or its code. Seconds.
_AFTERWARDS = 600
_FAULT = (
    "Please try again in a moment",
    "It is nothing that you did. If it goes on, tell the app that you came from, with the reference below.",
)
logger = get_logger(__name__)


def error_page(request: Request, error: BrokerError) -> Response:
    """Say why a link does not work; of a fault of ours or the bank's, which is the operator's to know, only that."""
    if error.status >= 500:
        logger.warning("page_failed", code=error.code, exc_info=error)
        title, text = _FAULT
    else:
        logger.info("page_refused", code=error.code)
        title, text = "This link does not work", f"{error.detail[:1].upper()}{error.detail[1:]}."
    return page(
        "outcome",
        error.status,
        root=request.scope.get("root_path", ""),
        mood="bad",
        title=title,
        text=text,
        confirmation_code=None,
        reference=request_id_of(request.scope),
    )


def answer_without_deed(request: Request) -> Response | None:
    """Answer whoever only looks, or guesses where its user goes next: neither may use up a link or a state."""
    if was_head(request.scope):
        return Response(status_code=204, headers=SECURITY_HEADERS)
    if any("prefetch" in request.headers.get(name, "").lower() for name in _PREFETCH):
        # Not with a success, which some browsers would show in the place of the page when its user does go there.
        return Response(status_code=403, headers=SECURITY_HEADERS)
    return None


def secrets_of(request: Request) -> dict[str, str]:
    """Return the secrets by which this browser may be known, by the names of their cookies.

    Read by hand, and only in the form in which `bind` writes them. Starlette's reader strips more than blanks from a
    name, by which a cookie without the `__Host-` prefix would pass for one with it, and unquotes values, which older
    Pythons do in quadratic time (CVE-2024-7592). A name that comes twice says nothing.
    """
    found: dict[str, str] = {}
    twice: set[str] = set()
    for header in request.headers.getlist("cookie"):
        if len(header) > _LONGEST_COOKIES:
            continue
        for pair in header.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            if _SECRET.fullmatch(value):
                if name in found:
                    twice.add(name)
                found[name] = value
    return {name: value for name, value in found.items() if name not in twice}


def cookie_name(runtime: Runtime, login: str) -> str:
    """Name the cookie of one login or interaction."""
    # The prefix has browsers insist on Secure, no Domain and Path=/ (RFC 6265bis section 4.1.3.2).
    return f"{'__Host-' if _is_https(runtime) else ''}broker-{login}"


def bind(request: Request, response: Response, runtime: Runtime, cookie: str, browser: str) -> None:
    """Have the browser keep its own secret for as long as a login can take, and only so many of them.

    Somebody may have a browser open many links; gateways refuse requests with more than some kilobytes of cookies.
    """
    attributes: dict[str, Any] = {"path": "/", "secure": _is_https(runtime), "httponly": True, "samesite": "lax"}
    mark = cookie_name(runtime, "")
    # Not whatever begins like one: others may have put it there, under a name that cannot be set.
    known = [name for name in secrets_of(request) if _LOGIN.fullmatch(name.removeprefix(mark)) and name != cookie]
    known = [name for name in known if name.startswith(mark)]
    # Browsers send the oldest first (RFC 6265 section 5.4).
    for name in known[: 1 - MOST_KEPT]:
        response.delete_cookie(name, **attributes)
    response.set_cookie(cookie, browser, max_age=int(runtime.settings.session_ttl + _AFTERWARDS), **attributes)


def _is_https(runtime: Runtime) -> bool:
    return urlsplit(runtime.settings.public_url).scheme == "https"
