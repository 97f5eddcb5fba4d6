"""Distinguishes a person who opens a link from a program that looks at it, such as a link scanner or a chat preview.

Whoever opens a link first keeps it, so a program must not open it. Browsers say in `Sec-Fetch-*` headers whether a
person caused a navigation (Fetch Metadata Request Headers, W3C). Anything else gets a page with one button: programs
follow links, but press no buttons.
"""

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import SecretStr

from app.api.content_negotiation import qualities
from app.api.pages import SECURITY_HEADERS, page

_NAVIGATION_BY_PERSON = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1"}
_OWN_SITES = ("same-origin", "none")


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
    response = page("continue", root=request.scope.get("root_path", ""))
    response.headers["content-security-policy"] = policy
    return response


def send_to_bank(request: Request, url: SecretStr) -> Response:
    """Redirect the browser to the bank.

    Browsers apply `form-action` to the redirects that follow a form, and it is not known where the bank redirects to.
    So after the button, a browser gets a page that goes on by itself.
    """
    if request.method == "POST" and "text/html" in qualities(request.headers.get("accept", "").encode("latin-1")):
        return page("forward", root=request.scope.get("root_path", ""), url=url.get_secret_value())
    return RedirectResponse(url.get_secret_value(), 303, SECURITY_HEADERS)
