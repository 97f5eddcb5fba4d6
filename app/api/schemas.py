"""What goes over the wire, with examples."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    StringConstraints,
)

from app.json_text import storable
from app.services.callers import Permission
from app.services.login import LoginRequest, SessionLinks
from app.store.audit import AuditEvent
from app.store.callers import ApiKeyRecord, CallerRecord
from app.store.connections import Connection, ConnectionStatus
from app.store.sessions import Session, SessionStatus

Item = TypeVar("Item")
_EXAMPLE_TIME = "2026-03-01T09:30:00Z"


def _storable(value: str) -> str:
    if not storable(value):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


def _moment(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a moment between the years 1 and 9999") from error


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(text) > 4_096:
        raise ValueError("may have 4096 characters as JSON")
    if "\\u0000" in text or not storable(text):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_storable)]
# RFC 6749 section 3.3: printable ASCII without blank, quote and backslash.
Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,64}$")]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small)]


class Strict(BaseModel):
    """A request: a member that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class SessionRequest(Strict):
    """What is to be linked."""

    user_id: Name = Field(description="Your own id of the user.", examples=["user-42"])
    scopes: list[Scope] | None = Field(
        default=None,
        max_length=30,
        description="What to ask the user for; by default what the broker is configured with. "
        "`openid` is always asked for.",
        examples=[["openid", "accounts", "balances", "transactions", "offline_access"]],
    )
    return_url: Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_storable)] | None = Field(
        default=None,
        description="Where the browser goes afterwards, with `session_id` and `status`; must be allow-listed.",
        examples=[None],
    )
    connection_id: Name | None = Field(
        default=None, description="Renew this connection in place; its id stays.", examples=[None]
    )
    require_confirmation: bool = Field(
        default=False, description="Keep the link unusable until it is confirmed with the browser's code."
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Kept with the session and its connection.", examples=[{"order": "1001"}]
    )

    def login_request(self) -> LoginRequest:
        """Return it as the service takes it."""
        return LoginRequest(**self.model_dump())


class ConfirmationRequest(Strict):
    """The browser's code."""

    confirmation_code: SecretStr = Field(
        min_length=1, max_length=200, examples=["x6v0Yt1QbnUe9G8f3y2k5m7p0r4s6u8w1z3B5D7F9H0"]
    )


class SessionError(BaseModel):
    """Why a session failed."""

    code: str = Field(examples=["subject_mismatch"])
    detail: str | None


class SessionView(BaseModel):
    """One attempt to link an account."""

    id: str = Field(examples=["ses_6a1e0c9b7d2f4a83915c0e7b"])
    status: SessionStatus
    user_id: str = Field(examples=["user-42"])
    scopes: list[str] = Field(examples=[["openid", "accounts", "balances", "transactions", "offline_access"]])
    authorization_url: str | None = Field(
        description="Straight to the bank; null once the login is no longer pending.",
        examples=["https://secure.stitch.money/connect/authorize?client_id=…&state=…"],
    )
    connect_url: str | None = Field(
        description="To the bank by way of the broker, which binds the browser; null once no longer pending.",
        examples=["https://broker.example.com/connect/Zk3…"],
    )
    return_url: str | None
    connection_id: str | None = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    error: SessionError | None
    metadata: dict[str, Any]
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    expires_at: datetime = Field(examples=["2026-03-01T09:45:00Z"])
    ended_at: datetime | None

    @classmethod
    def of(cls, session: Session, links: SessionLinks) -> "SessionView":
        """Show a session."""
        error = SessionError(code=session.error_code, detail=session.error_detail) if session.error_code else None
        return cls(
            id=session.id,
            status=session.status,
            user_id=session.user_id,
            scopes=session.scopes,
            authorization_url=links.authorization_url,
            connect_url=links.connect_url,
            return_url=session.return_url,
            connection_id=session.connection_id or session.renews_connection_id,
            error=error,
            metadata=session.metadata,
            created_at=session.created_at,
            expires_at=session.expires_at,
            ended_at=session.ended_at,
        )


class ConnectionView(BaseModel):
    """One user's consent at the bank."""

    id: str = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    status: ConnectionStatus
    user_id: str = Field(examples=["user-42"])
    scopes: list[str] = Field(description="What the user granted.", examples=[["openid", "accounts", "balances"]])
    subject: str = Field(description="The bank's id of the user.", examples=["user/abc"])
    version: int = Field(description="Counts the token generations, from 1.", examples=[3])
    refreshable: bool
    access_token_expires_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    last_refreshed_at: datetime | None
    last_used_at: datetime | None
    reauthorization_reason: str | None = Field(
        examples=[None], description="`invalid_grant`, `refresh_outcome_lost` or `not_refreshable`."
    )
    metadata: dict[str, Any]

    @classmethod
    def of(cls, connection: Connection) -> "ConnectionView":
        """Show a connection."""
        return cls.model_validate(connection, from_attributes=True)


class RefreshRequest(Strict):
    """Which version is to be replaced."""

    version: int | None = Field(
        default=None, examples=[3], ge=1, le=2**31 - 1, description="Refresh only if this is still the current version."
    )


class TokenRequest(Strict):
    """How long the token is to be good."""

    min_ttl: int = Field(
        default=0, examples=[60], ge=0, le=600, description="Seconds; refreshed first where fewer are left."
    )


class TokenView(BaseModel):
    """An access token, for callers that were granted `tokens:read`."""

    access_token: str = Field(examples=["…"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    scope: str = Field(examples=["openid accounts balances transactions offline_access"])
    version: int = Field(examples=[3])


class CallerRequest(Strict):
    """A new caller."""

    name: Name = Field(examples=["payments"])
    permissions: list[Permission] = Field(min_length=1, max_length=20)


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

    expires_at: Annotated[AwareDatetime, AfterValidator(_moment)] | None = Field(
        default=None, description="Without one it is good until revoked.", examples=["2027-01-01T00:00:00Z"]
    )


class ApiKeyView(BaseModel):
    """An API key, but for its secret."""

    id: str
    caller_id: str
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


class AuditEventView(BaseModel):
    """One deed."""

    id: int
    position: int = Field(description="Counts your tenant's events, from 1, without gaps.")
    occurred_at: datetime
    actor: str
    action: str = Field(examples=["connection.refreshed"])
    session_id: str | None
    connection_id: str | None
    request_id: str | None
    detail: dict[str, Any]
    hash: str = Field(description="SHA-256 of this event and the hash of the one before.")

    @classmethod
    def of(cls, event: AuditEvent) -> "AuditEventView":
        """Show a deed."""
        return cls.model_validate(event, from_attributes=True)


class PageView(BaseModel, Generic[Item]):
    """Some items, and where to go on."""

    items: list[Item]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null at the end.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:stitch-token-broker:error:permission_denied"])
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do, for people.")
    code: str = Field(description="Stable, for programs.")
    request_id: str = Field(description="The same as in the broker's log.")
