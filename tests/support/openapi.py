"""The OpenAPI document. Several test modules need it at import, and generating it takes about a second."""

from functools import cache
from typing import Any

from app.main import create_api


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document of this process, which callers must not change."""
    return create_api().openapi()
