"""FastAPI dependencies: the runtime, the admitted caller with its permission, and common parameters."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from app.api.json_limits import check_json_limits
from app.api.request_context import admit, request_interrupted, require_single_headers
from app.base.strict_json import is_storable_in_postgresql
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import NotFound
from app.runtime import Runtime

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="An API key, `brk_…`, or a service token: a JWT of the issuer that this broker trusts.",
)


def get_runtime(request: Request) -> Runtime:
    """Return the runtime that the application opened when it started."""
    runtime: Runtime = request.app.state.runtime
    return runtime


Broker = Annotated[Runtime, Depends(get_runtime)]


class AuthenticatedRoute(APIRoute):
    """A route that authenticates the caller before anything else, even before the body is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that authenticates first."""
        handle = super().get_route_handler()

        async def handle_authenticated(request: Request) -> Response:
            runtime = get_runtime(request)
            require_single_headers(request.scope)
            admission = await admit(runtime, request.scope, request.headers.get("authorization", ""))
            request.state.admission = admission
            check_json_limits(await _body_of(request))
            await admission.confirm()
            for name, value in request.path_params.items():
                if name != "user_id" and not is_storable_in_postgresql(value):
                    resource = name.removesuffix("_id")
                    raise NotFound(f"there is no such {resource}", code=f"{resource}_not_found")
            return await handle(request)

        return handle_authenticated


def should_continue(request: Request) -> Callable[[], Awaitable[bool]]:
    """Return a function that says, during a wait, whether to wait on: the caller is still connected and admitted.

    The function raises UnauthorizedCaller if the caller has been refused meanwhile.
    """

    async def is_connected() -> bool:
        admission: Admission = request.state.admission
        await admission.confirm()
        return not get_runtime(request).core.shutdown.is_set and not await request.is_disconnected()

    return is_connected


async def _body_of(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise request_interrupted() from error


def requires(permission: Permission) -> Callable[..., Awaitable[Admission]]:
    """Return a dependency that provides the caller of an AuthenticatedRoute if it has `permission`."""

    async def caller(
        request: Request,
        _shown_in_docs: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer, scopes=[permission.value])],
    ) -> Admission:
        admission: Admission = request.state.admission
        admission.require(permission)
        return admission

    return caller


Limit = Annotated[int, Query(ge=1, le=200, description="The maximum number of items in a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next_cursor` of the previous page.")]
UserFilter = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$", description="Only those of this user.")]
