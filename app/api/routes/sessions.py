"""`/v1/sessions`: logins that link an account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app.api.dependencies import (
    AuthenticatedRoute,
    Broker,
    Cursor,
    Limit,
    UserFilter,
    requires,
    should_continue,
)
from app.api.error_examples import DISCOVERY, problems
from app.api.schemas.common import PageView
from app.api.schemas.sessions import ConfirmationRequest, SessionRequest, SessionView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import ConnectionNotFound, ConnectionRevoked
from app.login.confirmation import confirmation_code_wrong, nothing_to_confirm
from app.login.return_urls import return_url_not_allowed
from app.login.sessions import idempotency_key_reused, session_not_found, session_not_pending, user_mismatch
from app.oidc.authorization_endpoint import scopes_not_allowed
from app.store.enums import SessionStatus
from app.store.postgresql.pagination import invalid_cursor

router = APIRouter(prefix="/v1/sessions", route_class=AuthenticatedRoute, tags=["Link an account"])
Reader = Annotated[Admission, Depends(requires(Permission.SESSIONS_READ))]
Writer = Annotated[Admission, Depends(requires(Permission.SESSIONS_WRITE))]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7E]+$",
        description="Repeating the request with the same key returns the same session.",
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Start a login",
    responses=problems(
        ConnectionNotFound,
        ConnectionRevoked,
        user_mismatch(),
        return_url_not_allowed(),
        scopes_not_allowed(["nonsense"]),
        idempotency_key_reused(),
        *DISCOVERY,
    ),
)
async def start_session(
    caller: Writer,
    runtime: Broker,
    body: SessionRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SessionView:
    """Start a login and send the user to `connect_url`, which binds the browser and leads on to the bank.

    `authorization_url` leads straight to the bank, and only binds the browser that returns first: prefer `connect_url`.

    Then wait for the end with `GET /v1/sessions/{id}?wait=30`.
    """
    session = await runtime.login.sessions.start(caller, body.login_request(), idempotency_key)
    response.headers["location"] = f"{runtime.settings.path_prefix}/v1/sessions/{session.id}"
    response.headers["cache-control"] = "no-store"
    return SessionView.of(session, runtime.login.sessions.links(session))


@router.get("", summary="List sessions", responses=problems(invalid_cursor()))
async def list_sessions(
    *,
    caller: Reader,
    runtime: Broker,
    response: Response,
    user_id: UserFilter = None,
    status: SessionStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[SessionView]:
    """List sessions, newest first."""
    page = await runtime.login.sessions.page(caller, user_id=user_id, status=status, limit=limit, cursor=cursor)
    response.headers["cache-control"] = "no-store"
    return PageView(
        items=[SessionView.of(session, runtime.login.sessions.links(session)) for session in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{session_id}", summary="Follow a login", responses=problems(session_not_found()))
async def get_session(
    request: Request,
    *,
    caller: Reader,
    runtime: Broker,
    session_id: str,
    response: Response,
    wait: Annotated[int, Query(ge=0, le=60, description="How many seconds to wait for the end of the login.")] = 0,
) -> SessionView:
    """Show a session; with `wait`, as soon as it has ended."""
    is_connected = should_continue(request)
    session = await runtime.login.sessions.get(caller, session_id, wait=wait, should_continue=is_connected)
    if wait:
        await caller.confirm()
    response.headers["cache-control"] = "no-store"
    return SessionView.of(session, runtime.login.sessions.links(session))


@router.post(
    "/{session_id}/confirm",
    summary="Confirm a link",
    responses=problems(session_not_found(), nothing_to_confirm(), confirmation_code_wrong(), ConnectionRevoked),
)
async def confirm_session(
    caller: Writer, runtime: Broker, session_id: str, confirmation: ConfirmationRequest
) -> SessionView:
    """Confirm that the browser that linked the account belongs to your logged-in user.

    Take the `confirmation_code` from the return URL, in that user's own session, and send it here.
    """
    session = await runtime.login.confirmation.confirm(caller, session_id, confirmation.confirmation_code)
    return SessionView.of(session, runtime.login.sessions.links(session))


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="Cancel a login",
    responses=problems(session_not_found(), session_not_pending(SessionStatus.COMPLETED)),
)
async def cancel_session(caller: Writer, runtime: Broker, session_id: str) -> None:
    """Cancel a pending login: its links stop working."""
    await runtime.login.sessions.cancel(caller, session_id)
