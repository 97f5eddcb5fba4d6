"""`/v1/connections/{id}/interactions`: take a user through what the bank wants of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.dependencies import AuthenticatedRoute, Broker, requires, should_continue
from app.api.error_examples import (
    INTERACTION_NOT_FOUND,
    INTERACTION_URL_NOT_ALLOWED,
    RETURN_URL_NOT_ALLOWED,
    own,
    problems,
)
from app.api.schemas.interactions import InteractionRequest, InteractionView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import (
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    ReauthorizationRequired,
)

router = APIRouter(
    prefix="/v1/connections/{connection_id}/interactions",
    route_class=AuthenticatedRoute,
    tags=["Take a user to the bank"],
)
Reader = Annotated[Admission, Depends(requires(Permission.SESSIONS_READ))]
Writer = Annotated[Admission, Depends(requires(Permission.SESSIONS_WRITE))]


@router.post(
    "",
    status_code=201,
    summary="Take the user to the bank",
    responses=problems(
        own(ConnectionNotFound),
        own(ReauthorizationRequired),
        own(ConnectionNotReady),
        own(ConnectionRevoked),
        INTERACTION_URL_NOT_ALLOWED,
        RETURN_URL_NOT_ALLOWED,
    ),
)
async def start_interaction(
    caller: Writer, runtime: Broker, connection_id: str, wanted: InteractionRequest, response: Response
) -> InteractionView:
    """When the bank has answered a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.
    """
    started = await runtime.interactions.service.start(caller, connection_id, wanted.demand())
    below = f"{runtime.settings.path_prefix}/v1/connections/{connection_id}"
    response.headers["location"] = f"{below}/interactions/{started.id}"
    response.headers["cache-control"] = "no-store"
    return InteractionView.of(started, runtime.interactions.service.link(started))


@router.get("/{interaction_id}", summary="Follow an interaction", responses=problems(INTERACTION_NOT_FOUND))
async def get_interaction(
    request: Request,
    *,
    caller: Reader,
    runtime: Broker,
    connection_id: str,
    interaction_id: str,
    response: Response,
    wait: Annotated[int, Query(ge=0, le=60, description="Seconds to wait for its end.")] = 0,
) -> InteractionView:
    """Show an interaction; with `wait`, as soon as it has ended.

    Once the user is back, the bank is asked what became of it, with the connection's token.
    """
    wanted = should_continue(request)
    found = await runtime.interactions.service.get(
        caller, connection_id, interaction_id, wait=wait, should_continue=wanted
    )
    if wait:
        await caller.confirm()
    response.headers["cache-control"] = "no-store"
    return InteractionView.of(found, runtime.interactions.service.link(found))
