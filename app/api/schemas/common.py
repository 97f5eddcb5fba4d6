"""What goes over the wire, with examples."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    StrictBool,
    StringConstraints,
)

from app.base.strict_json import is_storable_in_postgresql
from app.login.sessions import LoginRequest, SessionLinks
from app.store.audit import AuditEvent
from app.store.connections import Connection
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.sessions import Session

Item = TypeVar("Item")
# The database writes out the zeros that an exponent stands for. Whole numbers are exact in every reader up to here
# (RFC 8259 section 6).
_LEAST_NUMBER, _MOST_NUMBER = 1e-15, 2**53
_EXAMPLE_TIME = "2026-03-01T09:30:00Z"


def storable_text(value: str) -> str:
    """Let pass what PostgreSQL can store."""
    if not is_storable_in_postgresql(value):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if any(number and not _LEAST_NUMBER <= abs(number) <= _MOST_NUMBER for number in _numbers(value)):
        raise ValueError(
            f"may hold numbers up to {_MOST_NUMBER}, and none smaller than {_LEAST_NUMBER}: send it as text"
        )
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(text) > 4_096:
        raise ValueError("may have 4096 characters as JSON")
    if "\\u0000" in text or not is_storable_in_postgresql(text):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


def _numbers(value: JsonValue) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic takes it for a refusal
    return value


# A number, and neither a text that spells one nor a boolean.
Number = BeforeValidator(_number)
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(storable_text),
    Field(json_schema_extra={"pattern": "^[^\\u0000]*$"}),
]
# RFC 6749 section 3.3: printable ASCII without blank, quote and backslash.
Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,64}$")]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small)]


class Strict(BaseModel):
    """A request: a member that is not known is an error, not ignored. Null is as if an optional one were left out."""

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
    return_url: Annotated[str, StringConstraints(max_length=2_000), AfterValidator(storable_text)] | None = Field(
        default=None,
        description="Where the browser goes afterwards, with `session_id` and `status`; must be allow-listed.",
        examples=[None],
    )
    connection_id: Name | None = Field(
        default=None, description="Renew this connection in place; its id stays.", examples=[None]
    )
    require_confirmation: StrictBool | None = Field(
        default=False, description="Keep the link unusable until it is confirmed with the browser's code."
    )
    metadata: Metadata | None = Field(
        default_factory=dict, description="Kept with the session and its connection.", examples=[{"order": "1001"}]
    )

    def login_request(self) -> LoginRequest:
        """Return it as the service takes it."""
        return LoginRequest(**{name: value for name, value in self.model_dump().items() if value is not None})


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
    status: SessionStatus = Field(examples=["completed"])
    user_id: str = Field(examples=["user-42"])
    scopes: list[str] = Field(examples=[["openid", "accounts", "balances", "transactions", "offline_access"]])
    authorization_url: str | None = Field(
        description="Straight to the bank; null once the login is no longer pending.", examples=[None]
    )
    connect_url: str | None = Field(
        description="To the bank by way of the broker, which binds the browser; null once no longer pending.",
        examples=[None],
    )
    return_url: str | None
    connection_id: str | None = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    error: SessionError | None
    metadata: dict[str, Any] = Field(examples=[{"order": "1001"}])
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    expires_at: datetime = Field(examples=["2026-03-01T09:45:00Z"])
    ended_at: datetime | None = Field(examples=["2026-03-01T09:31:20Z"])

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
    status: ConnectionStatus = Field(examples=["active"])
    user_id: str = Field(examples=["user-42"])
    scopes: list[str] = Field(
        description="What the user granted.",
        examples=[["openid", "accounts", "balances", "transactions", "offline_access"]],
    )
    subject: str = Field(description="The bank's id of the user.", examples=["user/abc"])
    version: int = Field(description="Counts the token generations, from 1.", examples=[3])
    refreshable: bool
    access_token_expires_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    last_refreshed_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    last_used_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    reauthorization_reason: str | None = Field(
        examples=[None], description="`invalid_grant`, `refresh_outcome_lost` or `not_refreshable`."
    )
    metadata: dict[str, Any] = Field(examples=[{"order": "1001"}])

    @classmethod
    def of(cls, connection: Connection) -> "ConnectionView":
        """Show a connection."""
        return cls.model_validate(connection, from_attributes=True)


class RefreshRequest(Strict):
    """Which version is to be replaced."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1), Number] | None = Field(
        default=None, examples=[3], description="Refresh only if this is still the current version."
    )


class TokenRequest(Strict):
    """How long the token is to be good."""

    min_ttl: Annotated[int, Field(ge=0, le=86_400), Number] | None = Field(
        default=0,
        examples=[60],
        description="Seconds; refreshed first where fewer are left, as far as a token of the bank's lives.",
    )


class TokenView(BaseModel):
    """An access token, for callers that were granted `tokens:read`."""

    access_token: str = Field(examples=["…"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    scope: str = Field(examples=["openid accounts balances transactions offline_access"])
    version: int = Field(examples=[3])


class AuditEventView(BaseModel):
    """One deed."""

    # The id of its row is not shown: it counts what all tenants do.
    position: int = Field(description="Names the event: counts your tenant's, from 1, without gaps.")
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
