"""`/v1/callers`: callers and their API keys. An admin manages those of its own tenant."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import AuthenticatedRoute, Broker, Cursor, Limit, requires
from app.api.error_examples import problems
from app.api.schemas.callers import (
    ApiKeyRequest,
    ApiKeyView,
    CallerRequest,
    CallerView,
    NewApiKeyView,
    NewCallerView,
)
from app.api.schemas.common import PageView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.callers.registry import MAX_KEYS, caller_exists, caller_not_found, key_not_found, too_many_keys
from app.store.postgresql.pagination import invalid_cursor

router = APIRouter(prefix="/v1/callers", route_class=AuthenticatedRoute, tags=["Manage callers"])
_NOT_FOUND = caller_not_found("cal_unknown")
Admin = Annotated[Admission, Depends(requires(Permission.ADMIN))]


@router.post("", status_code=201, summary="Create a caller", responses=problems(caller_exists("default", "payments")))
async def create_caller(caller: Admin, runtime: Broker, body: CallerRequest, response: Response) -> NewCallerView:
    """Create a caller in your tenant. Its API key is shown only this once."""
    created, api_key = await runtime.callers.registry.create(
        tenant=caller.tenant, name=body.name, permissions=list(body.permissions), actor=caller.id, requester=caller
    )
    response.headers["location"] = f"{runtime.settings.path_prefix}/v1/callers/{created.id}"
    response.headers["cache-control"] = "no-store"
    return NewCallerView(**CallerView.of(created).model_dump(), api_key=api_key.get_secret_value())


@router.get("", summary="List callers", responses=problems(invalid_cursor()))
async def list_callers(
    caller: Admin, runtime: Broker, limit: Limit = 50, cursor: Cursor = None
) -> PageView[CallerView]:
    """List the callers of your tenant, newest first."""
    page = await runtime.callers.registry.list_callers(
        tenant=caller.tenant, requester=caller, limit=limit, cursor=cursor
    )
    return PageView(items=[CallerView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{caller_id}", summary="Show a caller", responses=problems(_NOT_FOUND))
async def get_caller(caller: Admin, runtime: Broker, caller_id: str) -> CallerView:
    """Show a caller."""
    return CallerView.of(await runtime.callers.registry.find(caller_id, tenant=caller.tenant, requester=caller))


@router.delete("/{caller_id}", status_code=204, summary="Disable a caller", responses=problems(_NOT_FOUND))
async def disable_caller(caller: Admin, runtime: Broker, caller_id: str) -> None:
    """Reject all keys of a caller from now on."""
    await runtime.callers.registry.disable(caller_id, tenant=caller.tenant, actor=caller.id, requester=caller)


@router.post(
    "/{caller_id}/keys",
    status_code=201,
    summary="Create an API key",
    responses=problems(_NOT_FOUND, too_many_keys(MAX_KEYS)),
)
async def create_key(
    caller: Admin, runtime: Broker, caller_id: str, response: Response, body: ApiKeyRequest | None = None
) -> NewApiKeyView:
    """Create another key; the others stay valid. It is shown only this once."""
    record, api_key = await runtime.callers.registry.create_key(
        caller_id,
        tenant=caller.tenant,
        expires_at=body.expires_at if body else None,
        actor=caller.id,
        requester=caller,
    )
    response.headers["cache-control"] = "no-store"
    return NewApiKeyView(**ApiKeyView.of(record).model_dump(), api_key=api_key.get_secret_value())


@router.get("/{caller_id}/keys", summary="List API keys", responses=problems(_NOT_FOUND, invalid_cursor()))
async def list_keys(
    caller: Admin, runtime: Broker, caller_id: str, limit: Limit = 50, cursor: Cursor = None
) -> PageView[ApiKeyView]:
    """List a caller's keys without their secrets, oldest first."""
    page = await runtime.callers.registry.list_keys(
        caller_id, tenant=caller.tenant, requester=caller, limit=limit, cursor=cursor
    )
    return PageView(items=[ApiKeyView.of(key) for key in page.items], next_cursor=page.next_cursor)


@router.delete(
    "/{caller_id}/keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    responses=problems(_NOT_FOUND, key_not_found("payments", "key_unknown")),
)
async def revoke_key(caller: Admin, runtime: Broker, caller_id: str, key_id: str) -> None:
    """Reject a key from now on, on every replica."""
    await runtime.callers.registry.revoke_key(
        caller_id, key_id, tenant=caller.tenant, actor=caller.id, requester=caller
    )
