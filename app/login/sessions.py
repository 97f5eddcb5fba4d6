"""Starting a login, following it and calling it off."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from app.base.clock import Clock
from app.base.encryption import KeyRing
from app.base.randomness import digest, identifier, opaque_value
from app.callers.authentication import Caller
from app.concurrency.shutdown import Stopping
from app.errors import (
    Conflict,
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    NotFound,
    UnprocessableRequest,
)
from app.login.return_urls import ReturnUrls
from app.oidc.authorization_url import FrontChannel
from app.store import audit
from app.store.connections import ConnectionStatus, get_connection
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.notifications import Notifications, session_topic
from app.store.postgresql.pagination import Page
from app.store.postgresql.wait_for_change import StillWanted, wait_for_change
from app.store.sessions import (
    Session,
    SessionStatus,
    end_session,
    find_idempotent,
    get_session,
    insert_session,
    list_sessions,
    lock_session,
    session_binding,
)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a caller wants to have linked. Without scopes, the configured ones are asked for."""

    user_id: str
    scopes: list[str] | None = None
    return_url: str | None = None
    connection_id: str | None = None
    require_confirmation: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Tell two requests apart that carry the same idempotency key."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SessionLinks:
    """The two addresses that begin a pending login; both are secrets of the user's."""

    authorization_url: str | None = field(default=None, repr=False)
    connect_url: str | None = field(default=None, repr=False)


class Logins:
    """Sessions, as callers see them."""

    def __init__(
        self,
        *,
        database: Database,
        key_ring: KeyRing,
        notifications: Notifications,
        stopping: Stopping,
        front_channel: FrontChannel,
        return_urls: ReturnUrls,
        clock: Clock,
        base_url: str,
        scopes: tuple[str, ...],
        session_ttl: int,
    ) -> None:
        self._database = database
        self._key_ring = key_ring
        self._notifications = notifications
        self._stopping = stopping
        self._front_channel = front_channel
        self._return_urls = return_urls
        self._clock = clock
        self._base_url = base_url
        self._scopes = scopes
        self._session_ttl = session_ttl

    async def start(self, caller: Caller, wanted: LoginRequest, idempotency_key: str | None) -> Session:
        """Start a login. The same idempotency key with the same request gives the same session.

        Raises UnprocessableRequest, ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, Conflict or BankError.
        """
        scopes = self._wanted_scopes(wanted)
        if wanted.return_url is not None:
            self._return_urls.require(wanted.return_url)
        authorization = await self._front_channel.new_request(redirect_uri=f"{self._base_url}/callback", scopes=scopes)
        address = await self._front_channel.address_of(authorization.parameters)
        session_id, ticket = identifier("ses"), SecretStr(opaque_value())

        def seal(column: str, secret: SecretStr) -> Any:  # noqa: ANN401 - a column's value
            return self._key_ring.encrypt(secret, session_binding(column, session_id))

        values = {
            "id": session_id,
            "tenant": caller.tenant,
            "caller_id": caller.id,
            "user_id": wanted.user_id,
            "stitch_state": digest(authorization.state.get_secret_value()),
            "nonce_digest": digest(authorization.nonce.get_secret_value()),
            "code_challenge": authorization.code_challenge,
            "code_verifier": seal("code_verifier", authorization.code_verifier),
            "authorization_url": seal("authorization_url", address.url),
            "pushed_parameters": seal("pushed_parameters", authorization.parameters) if address.is_pushed else None,
            "proof_key": seal("proof_key", authorization.proof_key.secret) if authorization.proof_key else None,
            "ticket": seal("ticket", ticket),
            "ticket_digest": digest(ticket.get_secret_value()),
            "require_confirmation": wanted.require_confirmation,
            "redirect_uri": f"{self._base_url}/callback",
            "return_url": wanted.return_url,
            "renews_connection_id": wanted.connection_id,
            "scopes": scopes,
            "metadata": wanted.metadata,
            "idempotency_key": idempotency_key,
            "request_digest": wanted.digest(),
        }
        async with self._database.transaction() as transaction:
            if wanted.connection_id is not None:
                await _check_renewable(transaction, caller.tenant, wanted.connection_id, wanted.user_id)
            inserted = await insert_session(transaction, values, seconds_to_live=self._session_ttl)
            if not inserted and idempotency_key is not None:
                earlier = await find_idempotent(transaction, caller.tenant, caller.id, idempotency_key)
                return _same_request(earlier, wanted)
            await audit.record(
                transaction,
                tenant=caller.tenant,
                actor=caller.id,
                action="session.started",
                session_id=session_id,
                connection_id=wanted.connection_id,
            )
            return await _existing(transaction, caller.tenant, session_id)

    def links(self, session: Session) -> SessionLinks:
        """Return the addresses of a pending login; none afterwards. Raises DecryptionError."""
        if session.status is not SessionStatus.PENDING or session.authorization_url is None or session.ticket is None:
            return SessionLinks()
        url = self._key_ring.decrypt(session.authorization_url, session_binding("authorization_url", session.id))
        ticket = self._key_ring.decrypt(session.ticket, session_binding("ticket", session.id))
        return SessionLinks(url.get_secret_value(), f"{self._base_url}/connect/{ticket.get_secret_value()}")

    async def get(
        self, tenant: str, session_id: str, *, wait: float = 0, still_wanted: StillWanted | None = None
    ) -> Session:
        """Return a session; with `wait`, as soon as it has ended or after so many seconds. Raises NotFound."""
        deadline = self._clock.monotonic() + wait
        async with self._notifications.subscribed(session_topic(session_id)) as changed:
            while True:
                changed.clear()
                async with self._database.transaction() as transaction:
                    session = await _existing(transaction, tenant, session_id)
                left = deadline - self._clock.monotonic()
                if session.ended_at is not None or left <= 0 or self._stopping.has_begun:
                    return session
                if not await wait_for_change(self._notifications, changed, left, still_wanted):
                    return session

    async def page(
        self, tenant: str, *, user_id: str | None, status: SessionStatus | None, limit: int, cursor: str | None
    ) -> Page[Session]:
        """Return a tenant's sessions, newest first."""
        async with self._database.transaction() as transaction:
            return await list_sessions(transaction, tenant, user_id=user_id, status=status, limit=limit, cursor=cursor)

    async def cancel(self, caller: Caller, session_id: str) -> None:
        """Call off a pending login, once or again. Raises NotFound, or Conflict where it has gone on."""
        async with self._database.transaction() as transaction:
            await _existing(transaction, caller.tenant, session_id)
            session = await lock_session(transaction, session_id=session_id)
            if session is None or session.status is SessionStatus.CANCELLED:
                return
            if session.status is not SessionStatus.PENDING:
                raise Conflict(
                    f"the login is {session.status} and cannot be cancelled any more", code="session_not_pending"
                )
            await end_session(transaction, session_id, SessionStatus.CANCELLED)
            await audit.record(
                transaction,
                tenant=caller.tenant,
                actor=caller.id,
                action="session.cancelled",
                session_id=session_id,
            )

    def _wanted_scopes(self, wanted: LoginRequest) -> list[str]:
        scopes = list(dict.fromkeys(wanted.scopes if wanted.scopes is not None else self._scopes))
        return scopes if "openid" in scopes else ["openid", *scopes]


def _same_request(earlier: Session | None, wanted: LoginRequest) -> Session:
    if earlier is None or earlier.request_digest != wanted.digest():
        raise UnprocessableRequest(
            "this Idempotency-Key was used for another request; take a new one", code="idempotency_key_reused"
        )
    return earlier


async def _existing(transaction: Transaction, tenant: str, session_id: str) -> Session:
    session = await get_session(transaction, session_id, tenant=tenant)
    if session is None:
        raise NotFound("your tenant has no session with this id", code="session_not_found")
    return session


async def _check_renewable(transaction: Transaction, tenant: str, connection_id: str, user_id: str) -> None:
    connection = await get_connection(transaction, tenant, connection_id)
    if connection is None:
        raise ConnectionNotFound
    if connection.status is ConnectionStatus.REVOKED:
        raise ConnectionRevoked("a revoked connection is not renewed; start a session without connection_id")
    if connection.status is ConnectionStatus.PENDING_CONFIRMATION:
        # Whoever else logs in would be let in without the confirmation that is awaited.
        raise ConnectionNotReady("the link awaits its confirmation, and cannot be renewed before it")
    if connection.user_id != user_id:
        raise Conflict("the connection belongs to another user_id", code="user_mismatch")
