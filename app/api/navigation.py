"""Distinguishes a person who opens a link from a program that looks at it, such as a link scanner or a chat preview.

The first browser that opens a link keeps it, so a program must not open it. Browsers say in `Sec-Fetch-*` headers
whether a person caused a navigation (Fetch Metadata Request Headers, W3C). Anything else gets a page with one button:
programs follow links, but press no buttons.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.convertors import PathConvertor, register_url_convertor

from app.api.content_negotiation import qualities
from app.api.pages import SECURITY_HEADERS, error_page, page, root_path
from app.api.request_context import was_head
from app.errors import BrokerError

# Fetch section 3.9, and what browsers sent before it.
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_NAVIGATION_BY_PERSON = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1"}
_OWN_SITES = ("same-origin", "none")


class _TicketConvertor(PathConvertor):
    """Any text, also with slashes and line breaks, except the path that the bank redirects to after an interaction."""

    regex = "(?!interactions$)(?s:.*)"


register_url_convertor("ticket", _TicketConvertor())


class BrowserRoute(APIRoute):
    """A route that browsers open: HEAD and prefetch requests have no effect, and errors become pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that calls the endpoint only for a real navigation."""
        handle = super().get_route_handler()

        async def handle_navigation(request: Request) -> Response:
            if was_head(request.scope):
                return Response(status_code=204, headers=SECURITY_HEADERS)
            if any("prefetch" in request.headers.get(name, "").lower() for name in _PREFETCH_HEADERS):
                # No success: some browsers would show it instead of the page when the user does open the link.
                return Response(status_code=403, headers=SECURITY_HEADERS)
            try:
                return await handle(request)
            except BrokerError as error:
                return error_page(request, error)

        return handle_navigation


def is_by_person(request: Request) -> bool:
    """Return whether a person opened this page: by a click, by typing its address, or by pressing the page's button.

    A redirect keeps the `Sec-Fetch-User` of the click that led to it. A button on another site's page does not count.
    """
    if request.method == "POST":
        return request.headers.get("sec-fetch-site", "same-origin") in _OWN_SITES
    return all(request.headers.get(name) == value for name, value in _NAVIGATION_BY_PERSON.items())


def button_page(request: Request) -> Response:
    """Return the page whose button opens the link: it sends a POST request to the same URL."""
    policy = SECURITY_HEADERS["content-security-policy"].replace("form-action 'none'", "form-action 'self'")
    response = page("continue", root=root_path(request))
    response.headers["content-security-policy"] = policy
    return response


def send_to_bank(request: Request, url: SecretStr) -> Response:
    """Redirect the browser to the bank.

    Browsers apply `form-action` to the redirects that follow a form, and it is not known where the bank redirects to.
    So after the button, a browser gets a page that goes on by itself.
    """
    if request.method == "POST" and "text/html" in qualities(request.headers.get("accept", "").encode("latin-1")):
        return page("forward", root=root_path(request), url=url.get_secret_value())
    return RedirectResponse(url.get_secret_value(), 303, SECURITY_HEADERS)


def send_to_app(url: str) -> Response:
    """Redirect the browser to the return URL of a login or interaction."""
    return RedirectResponse(url, 303, SECURITY_HEADERS)
