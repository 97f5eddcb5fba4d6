"""`/docs`: the guides, and every call with examples. All assets are served from here."""

from functools import cache

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app import __version__
from app.api.dependencies import Broker
from app.api.docs.guides import COLLECTION, read_collection, read_guides
from app.api.docs.reference import Task, tasks_of
from app.api.pages import SECURITY_HEADERS, STATIC, page
from app.errors import NotFound

_HEADERS = SECURITY_HEADERS | {
    # The pages send requests to the broker itself only.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}


def install_docs(app: FastAPI, *, with_query_page: bool) -> None:
    """Serve the pages. They are the same for every reader, so they are built once, at the first request."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", front)
    router.add_api_route("/docs/", docs_with_slash)
    router.add_api_route(f"/docs/{COLLECTION}", collection)

    @cache
    def tasks() -> list[Task]:
        return tasks_of(app.openapi())

    def show(template: str, name: str, **values: object) -> Response:
        # Links are relative, so that a gateway can serve everything below a path of its own.
        up = "../" * len(name.split("/")) if name else ""
        contents = {"current": name, "sections": read_guides(), "with_query_page": with_query_page}
        response = page(template, 200, up=up, version=__version__, **contents, **values)
        response.headers.update(_HEADERS)
        return response

    @router.get("/docs")
    async def docs(runtime: Broker) -> Response:
        """Show the start page with every call."""
        return show("reference", "", tasks=tasks(), public_url=runtime.settings.base_url)

    if with_query_page:

        @router.get("/docs/query")
        async def query() -> Response:
            """Show the page that sends queries through a connection."""
            return show("query", "query")

    @router.get("/docs/{name:path}")
    async def guide(name: str) -> Response:
        """Show a page of `docs/`."""
        selected = next((guide for section in read_guides() for guide in section.guides if guide.name == name), None)
        if selected is None:
            raise NotFound("there is no such page; /docs lists them")
        return show("guide", name, guide=selected)

    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


async def front(runtime: Broker) -> Response:
    """Redirect from the root to the docs."""
    return RedirectResponse(f"{runtime.settings.path_prefix}/docs", 307, SECURITY_HEADERS)


async def docs_with_slash() -> Response:
    """Redirect to the docs without the trailing slash."""
    return RedirectResponse("../docs", 307, SECURITY_HEADERS)


async def collection() -> Response:
    """Return the collection for Postman and Bruno."""
    content = read_collection()
    if content is None:
        raise NotFound("this broker was installed without its pages")
    return Response(content, headers=_HEADERS, media_type="application/json")
