"""Request and response bodies of `/v1/callers`."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from app.api.schemas.common import Name, Strict
from app.callers.permissions import Permission
from app.store.callers import ApiKeyRecord, CallerRecord


def _as_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be between the years 1 and 9999") from error


class CallerRequest(Strict):
    """A new caller."""

    name: Name = Field(examples=["payments"])
    permissions: list[Permission] = Field(min_length=1, max_length=20, examples=[["sessions:write", "graphql:query"]])


class CallerView(BaseModel):
    """An internal service."""

    id: str = Field(examples=["cal_3b9d1f5a7c0e2846a8b0c2d4"])
    name: str = Field(examples=["payments"])
    tenant: str = Field(examples=["default"])
    permissions: list[str] = Field(examples=[["sessions:write", "graphql:query"]])
    created_at: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, caller: CallerRecord) -> "CallerView":
        """Show a caller."""
        return cls.model_validate(caller, from_attributes=True)


class NewCallerView(CallerView):
    """A caller, and its first key: shown this once."""

    api_key: str = Field(examples=["brk_…"])


class ApiKeyRequest(Strict):
    """A further key."""

    expires_at: Annotated[AwareDatetime, AfterValidator(_as_utc)] | None = Field(
        default=None, description="By default the key is valid until it is revoked.", examples=["2027-01-01T00:00:00Z"]
    )


class ApiKeyView(BaseModel):
    """An API key, but for its secret."""

    id: str = Field(examples=["key_8d0f2a4c6e1b3957a9c1e3f5"])
    caller_id: str = Field(examples=["cal_3b9d1f5a7c0e2846a8b0c2d4"])
    prefix: str = Field(examples=["brk_a1B2c3D4e5F6"])
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, key: ApiKeyRecord) -> "ApiKeyView":
        """Show a key."""
        return cls.model_validate(key, from_attributes=True)


class NewApiKeyView(ApiKeyView):
    """A key, shown this once."""

    api_key: str = Field(examples=["brk_…"])
