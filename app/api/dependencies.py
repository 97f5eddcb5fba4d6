"""What endpoints are handed: the runtime, and the caller if it may do this."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from app.api.json_limits import require_modest
from app.api.request_context import admit, require_once
from app.base.strict_json import storable
from app.callers.authentication import Caller, Permission
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
            caller = await runtime.authenticator.authenticate(request.headers.get("authorization", ""))
            admit(runtime, caller, request.scope)
            require_modest(await _body_of(request))
            # Once more: a body may be long in coming, and its sender refused meanwhile.
            request.state.caller = await runtime.authenticator.authenticate(request.headers.get("authorization", ""))
            for name, value in request.path_params.items():
                if name != "user_id" and not storable(value):
                    what = name.removesuffix("_id")
                    raise NotFound(f"there is no such {what}", code=f"{what}_not_found")
            return await handle(request)

        return handle_authenticated


async def authenticate_again(request: Request, permission: Permission) -> None:
    """After a wait, raise UnauthorizedCaller or PermissionDenied where the caller was refused meanwhile."""
    caller = await get_runtime(request).authenticator.authenticate(request.headers.get("authorization", ""))
    caller.require(permission)


def still_wanted(request: Request, permission: Permission) -> Callable[[], Awaitable[bool]]:
    """Return what tells, during a wait, whether the caller is there; it raises where the caller was refused."""

    async def is_wanted() -> bool:
        await authenticate_again(request, permission)
        return not get_runtime(request).stopping.has_begun and not await request.is_disconnected()

    return is_wanted


async def _body_of(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise InvalidRequest("the request broke off") from error


def requires(permission: Permission) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that gives the caller of an AuthenticatedRoute, if it has `permission`."""

    async def caller(
        request: Request,
        _shown_in_docs: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer, scopes=[permission.value])],
    ) -> Caller:
        found: Caller = request.state.caller
        found.require(permission)
        return found

    return caller


Limit = Annotated[int, Query(ge=1, le=200, description="The most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next_cursor` of the page before.")]
UserFilter = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$", description="Only this user's.")]
