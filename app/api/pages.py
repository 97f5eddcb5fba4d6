"""The pages for browsers: plain HTML and one stylesheet, without scripts and without anything from other servers."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from app.api.request_context import request_id_of
from app.errors import BrokerError
from app.observability.logs import get_logger

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC = Path(__file__).parent / "static"
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "x-frame-options": "DENY",
}
_SERVER_ERROR_TITLE = "Please try again in a moment"
_SERVER_ERROR_TEXT = (
    "You did nothing wrong. If it happens again, contact the app that you came from, with the reference below."
)
logger = get_logger(__name__)


@cache
def _templates() -> "Environment":
    # Imported with the first page, because it would delay the start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(name: str, status: int = 200, **values: object) -> Response:
    """Render a template."""
    return HTMLResponse(_templates().get_template(f"{name}.html").render(**values), status, SECURITY_HEADERS)


def root_path(request: Request) -> str:
    """Return the path below which the broker is served, for the links of a page."""
    return str(request.scope.get("root_path", ""))


def outcome_page(
    request: Request,
    mood: str,
    title: str,
    text: str,
    *,
    status: int = 200,
    confirmation_code: str | None = None,
    reference: str | None = None,
) -> Response:
    """Return the page that says how something ended. `mood` is `good`, `bad` or `calm`."""
    return page(
        "outcome",
        status,
        root=root_path(request),
        mood=mood,
        title=title,
        text=text,
        confirmation_code=confirmation_code,
        reference=reference,
    )


def waiting_page(request: Request) -> Response:
    """Return the page that reloads itself until there is an outcome."""
    return page("waiting", root=root_path(request))


def error_page(request: Request, error: BrokerError) -> Response:
    """Return the page that says why a link does not work. It shows no details of server errors."""
    if error.status >= 500:
        logger.warning("page_failed", code=error.code, exc_info=error)
        title, text = _SERVER_ERROR_TITLE, _SERVER_ERROR_TEXT
    else:
        logger.info("page_refused", code=error.code)
        title, text = "This link does not work", f"{error.detail[:1].upper()}{error.detail[1:]}."
    reference = request_id_of(request.scope)
    return outcome_page(request, "bad", title, text, status=error.status, reference=reference)
