"""`/docs`: the OpenAPI document in a browser. All assets are served from here."""

from pathlib import Path

import fastapi_swagger
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.api.pages import SECURITY_HEADERS, STATIC, page

_SWAGGER = Path(fastapi_swagger.__file__).parent / "resources"
# Swagger UI styles elements from script; its own API is all that it may talk to.
_HEADERS = SECURITY_HEADERS | {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}
router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """Show the calls, to be read and tried."""
    response = page("docs")
    response.headers.update(_HEADERS)
    return response


@router.get("/docs/swagger-ui.js")
async def swagger_script() -> Response:
    """Return Swagger UI."""
    return FileResponse(_SWAGGER / "swagger-ui-bundle.js", media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def swagger_styles() -> Response:
    """Return Swagger UI's styles."""
    return FileResponse(_SWAGGER / "swagger-ui.css", media_type="text/css")


def mount_static(app: FastAPI) -> None:
    """Serve the pages' styles, icon and start script."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
