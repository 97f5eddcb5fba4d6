"""Renders the bank's pages, which have no scripts and load nothing from other hosts."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

PAGES = Path(__file__).parent / "pages"

HEADERS = {
    # Private, because the pages show account data; not no-store, so that the back button works.
    "cache-control": "private, max-age=0",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}

_templates = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)


def render(page: str, status: int = 200, **context: object) -> HTMLResponse:
    """Render one page."""
    return HTMLResponse(_templates.get_template(page).render(context), status, HEADERS)
