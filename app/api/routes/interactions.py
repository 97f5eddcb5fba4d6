"""`/v1/connections/{id}/interactions`: taking a user to the page that the bank requires."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.dependencies import AuthenticatedRoute, Broker, requires, should_continue
from app.api.error_examples import problems
from app.api.schemas.interactions import InteractionRequest, InteractionView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import (
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    ReauthorizationRequired,
)
from app.interactions.bank import interaction_url_not_allowed
from app.interactions.service import interaction_not_found
from app.login.return_urls import return_url_not_allowed

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
        ConnectionNotFound,
        ReauthorizationRequired,
        ConnectionNotReady,
        ConnectionRevoked,
        interaction_url_not_allowed("https://secure.stitch.money"),
        return_url_not_allowed(),
    ),
)
async def start_interaction(
    caller: Writer, runtime: Broker, connection_id: str, body: InteractionRequest, response: Response
) -> InteractionView:
    """When the bank answers a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.
    """
    started = await runtime.interactions.service.start(caller, connection_id, body.demand())
    below = f"{runtime.settings.path_prefix}/v1/connections/{connection_id}"
    response.headers["location"] = f"{below}/interactions/{started.id}"
    response.headers["cache-control"] = "no-store"
    return InteractionView.of(started, runtime.interactions.service.link(started))


@router.get("/{interaction_id}", summary="Follow an interaction", responses=problems(interaction_not_found()))
async def get_interaction(
    request: Request,
    *,
    caller: Reader,
    runtime: Broker,
    connection_id: str,
    interaction_id: str,
    response: Response,
    wait: Annotated[int, Query(ge=0, le=60, description="How many seconds to wait for its end.")] = 0,
) -> InteractionView:
    """Show an interaction; with `wait`, as soon as it has ended.

    Once the user has returned, the broker asks the bank for the outcome, with the connection's token.
    """
    is_connected = should_continue(request)
    found = await runtime.interactions.service.get(
        caller, connection_id, interaction_id, wait=wait, should_continue=is_connected
    )
    if wait:
        await caller.confirm()
    response.headers["cache-control"] = "no-store"
    return InteractionView.of(found, runtime.interactions.service.link(found))
