"""Sessions as callers see them: starting, following, listing and cancelling logins."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from app.bank.bank import Bank
from app.base.encryption import Ciphertext
from app.base.hashing import sha256_hex
from app.base.randomness import new_id, random_urlsafe_text
from app.callers.admission import Admission
from app.core import Core
from app.errors import (
    Conflict,
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    NotFound,
    UnprocessableRequest,
)
from app.login.return_urls import ReturnUrls
from app.settings import Settings
from app.store import audit
from app.store.connections import get_connection
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.notifications import session_topic
from app.store.postgresql.pagination import Page
from app.store.postgresql.wait_for_change import ShouldContinue, wait_for_change
from app.store.session_secrets import session_associated_data
from app.store.sessions import (
    NewSession,
    Session,
    end_session,
    get_session,
    get_session_by_idempotency_key,
    insert_session,
    list_sessions,
    lock_session,
)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a caller wants to link. Without scopes, those of the settings are requested."""

    user_id: str
    scopes: list[str] | None = None
    return_url: str | None = None
    connection_id: str | None = None
    require_confirmation: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Return a digest that shows whether two requests with the same idempotency key are the same."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SessionLinks:
    """The two URLs that start a pending login. Both are secrets of the user."""

    authorization_url: str | None = field(default=None, repr=False)
    connect_url: str | None = field(default=None, repr=False)


class LoginSessions:
    """Starts and manages the sessions of one tenant at a time."""

    def __init__(self, core: Core, bank: Bank, *, return_urls: ReturnUrls, settings: Settings) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._notifications = core.notifications
        self._shutdown = core.shutdown
        self._clock = core.clock
        self._client = bank.own_client.identity
        self._authorization_endpoint = bank.authorization_endpoint
        self._return_urls = return_urls
        self._base_url = settings.base_url
        self._redirect_uri = settings.redirect_uri
        self._scopes = settings.stitch_scopes
        self._session_ttl = settings.session_ttl

    async def start(self, caller: Admission, request: LoginRequest, idempotency_key: str | None) -> Session:
        """Start a login. The same request with the same idempotency key returns the same session.

        Raises UnprocessableRequest, ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, Conflict or BankError.
        """
        if request.return_url is not None:
            self._return_urls.require(request.return_url)
        new_session = await self._new_session(caller, request, idempotency_key)
        async with self._database.transaction(caller) as transaction:
            if request.connection_id is not None:
                await _check_renewable(transaction, caller.tenant, request.connection_id, request.user_id)
            inserted = await insert_session(transaction, new_session, seconds_to_live=self._session_ttl)
            if not inserted and idempotency_key is not None:
                earlier = await get_session_by_idempotency_key(transaction, caller.tenant, caller.id, idempotency_key)
                return _same_request(earlier, request)
            await audit.record(
                transaction, "session.started", of=new_session, actor=caller.id, connection_id=request.connection_id
            )
            return await _get_session(transaction, caller.tenant, new_session.id)

    async def _new_session(self, caller: Admission, request: LoginRequest, idempotency_key: str | None) -> NewSession:
        """Create the authorization request, pushed if the bank wants it so, and the row that remembers it."""
        scopes = self._scopes_of(request)
        authorization = await self._authorization_endpoint.new_request(redirect_uri=self._redirect_uri, scopes=scopes)
        url = await self._authorization_endpoint.url_for(authorization.parameters, callers_scopes=request.scopes or ())
        session_id, ticket = new_id("ses"), SecretStr(random_urlsafe_text())

        def encrypt(column: str, secret: SecretStr) -> Ciphertext:
            return self._key_ring.encrypt(secret, session_associated_data(column, session_id))

        return NewSession(
            id=session_id,
            tenant=caller.tenant,
            issuer=self._client.issuer,
            client_id=self._client.client_id,
            caller_id=caller.id,
            user_id=request.user_id,
            stitch_state=sha256_hex(authorization.state.get_secret_value()),
            nonce_digest=sha256_hex(authorization.nonce.get_secret_value()),
            code_challenge=authorization.code_challenge,
            code_verifier=encrypt("code_verifier", authorization.code_verifier),
            authorization_url=encrypt("authorization_url", url.url),
            pushed_parameters=encrypt("pushed_parameters", authorization.parameters) if url.is_pushed else None,
            proof_key=encrypt("proof_key", authorization.proof_key.private_jwk) if authorization.proof_key else None,
            ticket=encrypt("ticket", ticket),
            ticket_digest=sha256_hex(ticket.get_secret_value()),
            require_confirmation=request.require_confirmation,
            redirect_uri=self._redirect_uri,
            return_url=request.return_url,
            renews_connection_id=request.connection_id,
            scopes=scopes,
            metadata=request.metadata,
            idempotency_key=idempotency_key,
            request_digest=request.digest(),
        )

    def links(self, session: Session) -> SessionLinks:
        """Return the URLs of a pending login; empty afterwards. Raises DecryptionError."""
        if session.status is not SessionStatus.PENDING or session.authorization_url is None or session.ticket is None:
            return SessionLinks()
        url = self._key_ring.decrypt(
            session.authorization_url, session_associated_data("authorization_url", session.id)
        )
        ticket = self._key_ring.decrypt(session.ticket, session_associated_data("ticket", session.id))
        return SessionLinks(url.get_secret_value(), f"{self._base_url}/connect/{ticket.get_secret_value()}")

    async def get(
        self, caller: Admission, session_id: str, *, wait: float = 0, should_continue: ShouldContinue | None = None
    ) -> Session:
        """Return a session, after waiting up to `wait` seconds for its end. Raises NotFound."""
        deadline = self._clock.monotonic() + wait
        async with self._notifications.subscribed(session_topic(session_id)) as changed:
            while True:
                changed.clear()
                async with self._database.transaction(caller) as transaction:
                    session = await _get_session(transaction, caller.tenant, session_id)
                left = deadline - self._clock.monotonic()
                if session.ended_at is not None or left <= 0 or self._shutdown.is_set:
                    return session
                if not await wait_for_change(self._notifications, changed, left, should_continue):
                    return session

    async def page(
        self, caller: Admission, *, user_id: str | None, status: SessionStatus | None, limit: int, cursor: str | None
    ) -> Page[Session]:
        """Return a tenant's sessions, newest first."""
        async with self._database.transaction(caller) as transaction:
            return await list_sessions(
                transaction, caller.tenant, user_id=user_id, status=status, limit=limit, cursor=cursor
            )

    async def cancel(self, caller: Admission, session_id: str) -> None:
        """Cancel a pending login; again is no error. Raises NotFound, or Conflict if it is no longer pending."""
        async with self._database.transaction(caller) as transaction:
            await _get_session(transaction, caller.tenant, session_id)
            session = await lock_session(transaction, session_id)
            if session is None or session.status is SessionStatus.CANCELLED:
                return
            if session.status is not SessionStatus.PENDING:
                raise session_not_pending(session.status)
            await end_session(transaction, session_id, SessionStatus.CANCELLED)
            await audit.record(transaction, "session.cancelled", of=session, actor=caller.id)

    def _scopes_of(self, request: LoginRequest) -> list[str]:
        scopes = list(dict.fromkeys(request.scopes if request.scopes is not None else self._scopes))
        return scopes if "openid" in scopes else ["openid", *scopes]


def _same_request(earlier: Session | None, request: LoginRequest) -> Session:
    if earlier is None or earlier.request_digest != request.digest():
        raise idempotency_key_reused()
    return earlier


async def _get_session(transaction: Transaction, tenant: str, session_id: str) -> Session:
    session = await get_session(transaction, session_id, tenant=tenant)
    if session is None:
        raise session_not_found()
    return session


async def _check_renewable(transaction: Transaction, tenant: str, connection_id: str, user_id: str) -> None:
    connection = await get_connection(transaction, tenant, connection_id)
    if connection is None:
        raise ConnectionNotFound
    if connection.status is ConnectionStatus.REVOKED:
        raise ConnectionRevoked("a revoked connection cannot be renewed; start a session without connection_id")
    if connection.status is ConnectionStatus.PENDING_CONFIRMATION:
        # Another person who logs in would be linked without the confirmation.
        raise ConnectionNotReady("the link has not been confirmed yet, and cannot be renewed before that")
    if connection.user_id != user_id:
        raise user_mismatch()


def session_not_found() -> NotFound:
    """Return the error for the id of a session that the tenant does not have."""
    return NotFound("your tenant has no session with this id", code="session_not_found")


def session_not_pending(status: SessionStatus) -> Conflict:
    """Return the error for a login that can no longer be cancelled."""
    return Conflict(f"the login is {status} and can no longer be cancelled", code="session_not_pending")


def idempotency_key_reused() -> UnprocessableRequest:
    """Return the error for an Idempotency-Key that was sent with another request."""
    return UnprocessableRequest(
        "this Idempotency-Key was used for another request; use a new one", code="idempotency_key_reused"
    )


def user_mismatch() -> Conflict:
    """Return the error for the renewal of a connection for another user."""
    return Conflict("the connection belongs to another user_id", code="user_mismatch")
