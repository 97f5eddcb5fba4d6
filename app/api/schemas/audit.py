"""Response bodies of `/v1/audit`."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.store.audit import AuditEvent


class AuditEventView(BaseModel):
    """One action in the audit log."""

    # The row's id is not shown: it counts the actions of all tenants.
    position: int = Field(description="Identifies the event: counts your tenant's events from 1, without gaps.")
    occurred_at: datetime
    actor: str = Field(description="A caller's id, `broker`, or `operator` for the command line.", examples=["broker"])
    action: str = Field(examples=["connection.refreshed"])
    session_id: str | None
    connection_id: str | None = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    request_id: str | None = Field(examples=["req_7c1e5a9d3b0f"])
    detail: dict[str, Any] = Field(examples=[{"version": 4}])
    hash: str = Field(description="SHA-256 of this event and the hash of the one before.", examples=["fb3cf0b3…"])

    @classmethod
    def of(cls, event: AuditEvent) -> "AuditEventView":
        """Show an event."""
        return cls.model_validate(event, from_attributes=True)
