"""`/v1/audit`: the audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.api.dependencies import AuthenticatedRoute, Broker, Cursor, Limit, requires
from app.api.error_examples import problems
from app.api.schemas.audit import AuditEventView
from app.api.schemas.common import PageView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.store.postgresql.pagination import invalid_cursor

router = APIRouter(prefix="/v1/audit", route_class=AuthenticatedRoute, tags=["Look into it"])
Auditor = Annotated[Admission, Depends(requires(Permission.AUDIT_READ))]


@router.get("", summary="Read the audit", responses=problems(invalid_cursor()))
async def read_audit(
    caller: Auditor,
    runtime: Broker,
    connection_id: Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[AuditEventView]:
    """List your tenant's events, oldest first."""
    page = await runtime.callers.audit_log.page(caller, connection_id=connection_id, limit=limit, cursor=cursor)
    return PageView(items=[AuditEventView.of(event) for event in page.items], next_cursor=page.next_cursor)
