"""What endpoints are handed: the runtime, and the caller if it may do this."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from app.api.json_limits import require_modest
from app.api.request_context import admit, require_once
from app.base.strict_json import is_storable_in_postgresql
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import InvalidRequest, NotFound
from app.runtime import Runtime

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="An API key, `brk_…`; or a service token, a JWT of the issuer that this broker is set up to believe.",
)


def get_runtime(request: Request) -> Runtime:
    """Return the runtime that the application opened at its start."""
    runtime: Runtime = request.app.state.runtime
    return runtime


Broker = Annotated[Runtime, Depends(get_runtime)]


class AuthenticatedRoute(APIRoute):
    """A route that looks at nothing of a request before it knows whose it is, not even whether its body is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the authentication before what the framework does."""
        handle = super().get_route_handler()

        async def handle_authenticated(request: Request) -> Response:
            runtime = get_runtime(request)
            require_once(request.scope)
            admission = await admit(runtime, request.scope, request.headers.get("authorization", ""))
            request.state.admission = admission
            require_modest(await _body_of(request))
            await admission.confirm()
            for name, value in request.path_params.items():
                if name != "user_id" and not is_storable_in_postgresql(value):
                    what = name.removesuffix("_id")
                    raise NotFound(f"there is no such {what}", code=f"{what}_not_found")
            return await handle(request)

        return handle_authenticated


def should_continue(request: Request) -> Callable[[], Awaitable[bool]]:
    """Return what tells, during a wait, whether the caller is still there; it raises if the caller was refused."""

    async def is_wanted() -> bool:
        admission: Admission = request.state.admission
        await admission.confirm()
        return not get_runtime(request).core.shutdown.is_set and not await request.is_disconnected()

    return is_wanted


async def _body_of(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise InvalidRequest("the request broke off") from error


def requires(permission: Permission) -> Callable[..., Awaitable[Admission]]:
    """Return a dependency that gives the caller of an AuthenticatedRoute, if it has `permission`."""

    async def caller(
        request: Request,
        _shown_in_docs: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer, scopes=[permission.value])],
    ) -> Admission:
        admission: Admission = request.state.admission
        admission.require(permission)
        return admission

    return caller


Limit = Annotated[int, Query(ge=1, le=200, description="The most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next_cursor` of the page before.")]
UserFilter = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$", description="Only this user's.")]
