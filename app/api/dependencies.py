"""What endpoints are handed: the runtime, and the caller if it may do this."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.context import admit
from app.runtime import Runtime
from app.services.callers import Caller, Permission

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


def requires(permission: Permission) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that gives the caller, if it has `permission`."""

    async def caller(
        request: Request,
        runtime: Broker,
        _shown_in_docs: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        found = await runtime.authenticator.authenticate(request.headers.get("authorization", ""))
        admit(runtime, found, request.scope)
        found.require(permission)
        return found

    return caller


Limit = Annotated[int, Query(ge=1, le=200, description="The most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next_cursor` of the page before.")]
UserFilter = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$", description="Only this user's.")]
