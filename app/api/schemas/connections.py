"""Request and response bodies of `/v1/connections`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.api.schemas.common import EXAMPLE_TIME, Number, Strict
from app.store.connections import Connection
from app.store.enums import ConnectionStatus


class ConnectionView(BaseModel):
    """One user's consent at the bank."""

    id: str = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    status: ConnectionStatus = Field(examples=["active"])
    user_id: str = Field(examples=["user-42"])
    scopes: list[str] = Field(
        description="What the user granted.",
        examples=[["openid", "accounts", "balances", "transactions", "offline_access"]],
    )
    subject: str = Field(description="The bank's id of the user.", examples=["user/abc"])
    version: int = Field(description="Counts the token generations, from 1.", examples=[3])
    refreshable: bool
    access_token_expires_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    last_refreshed_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    last_used_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    reauthorization_reason: str | None = Field(
        examples=[None], description="`invalid_grant`, `refresh_outcome_lost` or `not_refreshable`."
    )
    metadata: dict[str, Any] = Field(examples=[{"order": "1001"}])

    @classmethod
    def of(cls, connection: Connection) -> "ConnectionView":
        """Show a connection."""
        return cls.model_validate(connection, from_attributes=True)


class RefreshRequest(Strict):
    """Which version to replace."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1), Number] | None = Field(
        default=None, examples=[3], description="Refresh only if this is still the current version."
    )


class TokenRequest(Strict):
    """How long the token must be valid."""

    min_ttl: Annotated[int, Field(ge=0, le=86_400), Number] | None = Field(
        default=0,
        examples=[60],
        description="In seconds. A token with less time left is refreshed first, if the bank's tokens live that long.",
    )


class TokenView(BaseModel):
    """An access token, for callers that were granted `tokens:read`."""

    access_token: str = Field(examples=["…"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    scope: str = Field(examples=["openid accounts balances transactions offline_access"])
    version: int = Field(examples=[3])
