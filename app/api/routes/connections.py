"""`/v1/connections`: linked accounts, and their tokens."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import AuthenticatedRoute, Broker, Cursor, Limit, UserFilter, requires
from app.api.error_examples import DISCOVERY, problems
from app.api.schemas.common import PageView
from app.api.schemas.connections import ConnectionView, RefreshRequest, TokenRequest, TokenView
from app.bank.circuit_breaker import circuit_breaker_open
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import (
    BankClientMismatch,
    BankRateLimited,
    BankRequestRejected,
    BankServerError,
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    InvalidClient,
    ReauthorizationRequired,
)
from app.refresh.coordinator import not_refreshable, refresh_under_way
from app.store.bank_clients import invalid_grant_storm
from app.store.enums import ConnectionStatus
from app.store.postgresql.pagination import invalid_cursor

router = APIRouter(prefix="/v1/connections", route_class=AuthenticatedRoute, tags=["Use a connection"])
Reader = Annotated[Admission, Depends(requires(Permission.CONNECTIONS_READ))]
Writer = Annotated[Admission, Depends(requires(Permission.CONNECTIONS_WRITE))]
TokenReader = Annotated[Admission, Depends(requires(Permission.TOKENS_READ))]
_UNUSABLE = (
    ConnectionNotFound,
    ReauthorizationRequired,
    ConnectionNotReady,
    ConnectionRevoked,
    *DISCOVERY,
    BankServerError,
    BankRateLimited,
    InvalidClient,
    BankRequestRejected,
    circuit_breaker_open(),
    invalid_grant_storm(),
    BankClientMismatch,
    refresh_under_way(),
)


@router.get("", summary="List connections", responses=problems(invalid_cursor()))
async def list_connections(
    *,
    caller: Reader,
    runtime: Broker,
    user_id: UserFilter = None,
    status: ConnectionStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[ConnectionView]:
    """List connections, newest first."""
    page = await runtime.connections.service.page(caller, user_id=user_id, status=status, limit=limit, cursor=cursor)
    return PageView(items=[ConnectionView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{connection_id}", summary="Show a connection", responses=problems(ConnectionNotFound))
async def get_connection(caller: Reader, runtime: Broker, connection_id: str) -> ConnectionView:
    """Show a connection."""
    return ConnectionView.of(await runtime.connections.service.get(caller, connection_id))


@router.post(
    "/{connection_id}/refresh", summary="Refresh the token now", responses=problems(*_UNUSABLE, not_refreshable())
)
async def refresh_connection(
    caller: Writer, runtime: Broker, connection_id: str, body: RefreshRequest | None = None
) -> ConnectionView:
    """Refresh the access token. Rarely needed: queries do it by themselves.

    Each refresh opens a new banking session, which the user may notice. With `version`, nothing happens if that version
    has already been refreshed.
    """
    await runtime.refresh.tokens.refresh(caller.tenant, connection_id, body.version if body else None)
    return ConnectionView.of(await runtime.connections.service.get(caller, connection_id))


@router.post("/{connection_id}/token", summary="Get an access token", responses=problems(*_UNUSABLE))
async def get_token(
    caller: TokenReader, runtime: Broker, connection_id: str, response: Response, body: TokenRequest | None = None
) -> TokenView:
    """Get an access token for use outside the broker. Only for callers that were granted `tokens:read`."""
    min_ttl = (body.min_ttl if body else None) or 0
    token = await runtime.connections.service.access_token(caller, connection_id, min_ttl=min_ttl)
    response.headers["cache-control"] = "no-store"
    return TokenView(
        access_token=token.access_token.get_secret_value(),
        expires_at=token.expires_at,
        scope=" ".join(token.scopes),
        version=token.version,
    )


@router.delete(
    "/{connection_id}", status_code=204, summary="Disconnect an account", responses=problems(ConnectionNotFound)
)
async def disconnect(caller: Writer, runtime: Broker, connection_id: str) -> None:
    """End a connection: unusable at once on every replica, its tokens erased and revoked at the bank."""
    await runtime.connections.disconnect.disconnect(caller, connection_id)
    runtime.refresh.tokens.invalidate(connection_id)
