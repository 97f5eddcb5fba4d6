"""Lists the audit log of a tenant."""

from app.callers.admission import Admission
from app.core import Core
from app.store.audit import AuditEvent, list_events
from app.store.postgresql.pagination import Page


class AuditLog:
    """Lists audit events."""

    def __init__(self, core: Core) -> None:
        self._database = core.database

    async def page(
        self, caller: Admission, *, connection_id: str | None, limit: int, cursor: str | None
    ) -> Page[AuditEvent]:
        """Return the events of the caller's tenant, oldest first."""
        async with self._database.transaction(caller) as transaction:
            return await list_events(
                transaction, caller.tenant, connection_id=connection_id, limit=limit, cursor=cursor
            )
