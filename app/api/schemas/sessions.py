"""Request and response bodies of `/v1/sessions`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StrictBool, StringConstraints

from app.api.schemas.common import EXAMPLE_TIME, Metadata, Name, Scope, Strict, storable_text
from app.login.sessions import LoginRequest, SessionLinks
from app.store.enums import SessionStatus
from app.store.sessions import Session


class SessionRequest(Strict):
    """What to link."""

    user_id: Name = Field(description="Your own id of the user.", examples=["user-42"])
    scopes: list[Scope] | None = Field(
        default=None,
        max_length=30,
        description="The scopes to request; by default those that the broker is configured with. "
        "`openid` is always requested.",
        examples=[["openid", "accounts", "balances", "transactions", "offline_access"]],
    )
    return_url: Annotated[str, StringConstraints(max_length=2_000), AfterValidator(storable_text)] | None = Field(
        default=None,
        description="Where the browser goes afterwards, with `session_id` and `status`; must be on the allow-list.",
        examples=[None],
    )
    connection_id: Name | None = Field(
        default=None, description="Renew this connection; it keeps its id.", examples=[None]
    )
    require_confirmation: StrictBool | None = Field(
        default=False, description="Keep the link unusable until it is confirmed with the browser's code."
    )
    metadata: Metadata | None = Field(
        default_factory=dict, description="Kept with the session and its connection.", examples=[{"order": "1001"}]
    )

    def login_request(self) -> LoginRequest:
        """Return the request as the service expects it."""
        return LoginRequest(**{name: value for name, value in self.model_dump().items() if value is not None})


class ConfirmationRequest(Strict):
    """The code that the browser brought back."""

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
        description="Leads straight to the bank; null once the login is no longer pending.", examples=[None]
    )
    connect_url: str | None = Field(
        description="Leads to the bank through the broker, which binds the browser; null once no longer pending.",
        examples=[None],
    )
    return_url: str | None
    connection_id: str | None = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    error: SessionError | None
    metadata: dict[str, Any] = Field(examples=[{"order": "1001"}])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
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
