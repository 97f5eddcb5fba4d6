"""Turns a token response into a connection: validated, then linked; or rejected, and its tokens revoked."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict

from pydantic import SecretStr

from app.bank.bank import Bank
from app.base.hashing import sha256_hex
from app.base.randomness import new_id, random_urlsafe_text
from app.connections.revoke import revoke_token_response
from app.core import Core
from app.errors import BankError, BankResponseInvalid, LoginError
from app.oidc.id_token import ExpectedClaims, VerifiedClaims, validate_id_token
from app.oidc.token_response import TokenResponse, parse_token_response
from app.store import audit
from app.store.connections import (
    Connection,
    NewConnection,
    TokenSet,
    change_connection,
    insert_connection,
    lock_connection,
    publish_connection_event,
    store_tokens,
)
from app.store.enums import ConnectionStatus, EventType, SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import TimeValue, at_least_seconds_from_now, seconds_from_now
from app.store.session_secrets import proof_key_of, session_associated_data
from app.store.sessions import Session, change_session, end_session, lock_session

# After a login there is at least this much time to confirm it, or as much as a login may take, in seconds.
MIN_CONFIRMATION_TIME = 300


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens, and the verified claims of their id_token."""

    tokens: TokenResponse
    claims: VerifiedClaims


class AccountLinker:
    """Creates and renews connections."""

    def __init__(self, core: Core, bank: Bank) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._provider = bank.provider
        self.client = bank.own_client.identity

    async def validate(self, session: Session, body: SecretStr) -> Grant:
        """Validate a token response. Raises LoginError, or BankError if the bank's keys are unavailable."""
        try:
            tokens = self.tokens_of(session, body)
        except BankResponseInvalid as error:
            raise LoginError(error.detail, code=error.code) from error
        if tokens.access_token is None:
            raise LoginError("the bank sent no access token", code="access_token_missing")
        if tokens.proof_key is None:
            _check_bearer(tokens, was_proof_sent=session.proof_key is not None)
        if tokens.id_token is None:
            raise LoginError("the bank sent no id_token", code="id_token_missing")
        expected = ExpectedClaims(
            client_id=self.client.client_id,
            nonce_sha256=session.nonce_digest,
            state_sha256=session.stitch_state,
            access_token_sha256=sha256_hex(tokens.access_token.get_secret_value()),
        )
        claims = await validate_id_token(
            tokens.id_token, self._provider, expected, session.exchanged_at or self._clock.now()
        )
        return Grant(tokens, claims)

    def is_own(self, session: Session) -> bool:
        """Return whether the session was started with the client that this broker is configured with."""
        return session.bank_client == self.client

    def tokens_of(self, session: Session, body: SecretStr) -> TokenResponse:
        """Parse the token response of a session. Raises BankResponseInvalid."""
        return parse_token_response(body, proof_key_of(session, self._key_ring))

    async def link(self, session: Session, body: SecretStr, grant: Grant) -> SessionStatus:
        """Create or renew the connection. End the session, unless the link must be confirmed first."""
        async with self._database.transaction() as transaction:
            if (status := await self._lock_exchanging(transaction, session, body)) is not None:
                return status
            if session.renews_connection_id is None:
                return await self._link_new(transaction, session, grant)
            connection = await lock_connection(transaction, session.tenant, session.renews_connection_id)
            if (obstacle := _obstacle_to_renewal(connection, grant.claims)) is not None:
                await self._reject(transaction, session, obstacle, body)
                return SessionStatus.FAILED
            if session.require_confirmation:
                # Until then the old tokens stay in use, and the new ones stay encrypted in the session.
                await self._await_confirmation(transaction, session, session.renews_connection_id)
                return SessionStatus.AWAITING_CONFIRMATION
            assert connection is not None
            await self.renew(transaction, session, connection, grant.tokens)
            return SessionStatus.COMPLETED

    async def renew(
        self, transaction: Transaction, session: Session, connection: Connection, tokens: TokenResponse
    ) -> None:
        """Replace the tokens of a connection, and end the session.

        The old refresh token is not revoked at the bank: identity servers like Stitch's would revoke all of the user's
        tokens with it, including the new ones (decision 4).
        """
        version = connection.version + 1
        await change_connection(
            transaction,
            connection.id,
            # A refresh that is still running must not overwrite what the user has just granted.
            fence=connection.fence + 1,
            version=version,
            status=ConnectionStatus.ACTIVE,
            reauthorization_reason=None,
            lease_until=None,
            retry_at=None,
            failures=0,
            last_failure=None,
            **_granted(session, tokens),
        )
        await store_tokens(
            transaction,
            self._key_ring,
            tenant=session.tenant,
            connection_id=connection.id,
            version=version,
            tokens=_token_set(tokens),
        )
        if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
            await publish_connection_event(transaction, EventType.CONNECTION_RECOVERED, connection, version=version)
        await self._complete(transaction, session, connection.id, "connection.renewed")

    async def reject(self, session: Session, error: LoginError | BankError, body: SecretStr | None) -> SessionStatus:
        """End the session as failed, and revoke its tokens at the bank."""
        async with self._database.transaction() as transaction:
            if (status := await self._lock_exchanging(transaction, session, body)) is not None:
                return status
            await self._reject(transaction, session, error, body)
            return SessionStatus.FAILED

    async def _lock_exchanging(
        self, transaction: Transaction, session: Session, body: SecretStr | None
    ) -> SessionStatus | None:
        """Lock the session. Return None if it is still exchanging, otherwise its status.

        If the session was cancelled or erased meanwhile, its tokens are revoked.
        """
        current = await lock_session(transaction, session.id)
        status = current.status if current else SessionStatus.CANCELLED
        if status is SessionStatus.EXCHANGING:
            return None
        if body is not None and status not in (SessionStatus.COMPLETED, SessionStatus.AWAITING_CONFIRMATION):
            await self._revoke(transaction, session, body, f"session_{status}")
        return status

    async def _link_new(self, transaction: Transaction, session: Session, grant: Grant) -> SessionStatus:
        connection_id, must_be_confirmed = new_id("con"), session.require_confirmation
        await insert_connection(
            transaction,
            NewConnection(
                id=connection_id,
                tenant=session.tenant,
                user_id=session.user_id,
                status=ConnectionStatus.PENDING_CONFIRMATION if must_be_confirmed else ConnectionStatus.ACTIVE,
                subject=grant.claims.subject,
                version=1,
                metadata=session.metadata,
                **_granted(session, grant.tokens),
            ),
        )
        await store_tokens(
            transaction,
            self._key_ring,
            tenant=session.tenant,
            connection_id=connection_id,
            version=1,
            tokens=_token_set(grant.tokens),
        )
        if must_be_confirmed:
            await self._await_confirmation(transaction, session, connection_id)
            return SessionStatus.AWAITING_CONFIRMATION
        await self._complete(transaction, session, connection_id, "connection.linked")
        return SessionStatus.COMPLETED

    async def _complete(self, transaction: Transaction, session: Session, connection_id: str, action: str) -> None:
        await end_session(transaction, session.id, SessionStatus.COMPLETED, connection_id=connection_id)
        await audit.record(transaction, action, of=session, connection_id=connection_id)

    async def _await_confirmation(self, transaction: Transaction, session: Session, connection_id: str) -> None:
        binding = session_associated_data("confirmation_code", session.id)
        await change_session(
            transaction,
            session.id,
            status=SessionStatus.AWAITING_CONFIRMATION,
            connection_id=connection_id,
            confirmation_code=self._key_ring.encrypt(SecretStr(random_urlsafe_text()), binding),
            lease_until=None,
            expires_at=at_least_seconds_from_now(session.expires_at, _confirmation_time(session)),
        )

    async def _reject(
        self,
        transaction: Transaction,
        session: Session,
        error: LoginError | BankError,
        body: SecretStr | None,
    ) -> None:
        if body is not None:
            await self._revoke(transaction, session, body, error.code)
        await end_session(
            transaction, session.id, SessionStatus.FAILED, error_code=error.code, error_detail=error.detail
        )
        await audit.record(transaction, "session.failed", of=session, error=error.code)

    async def _revoke(self, transaction: Transaction, session: Session, body: SecretStr, reason: str) -> None:
        await revoke_token_response(
            transaction,
            self._key_ring,
            tenant=session.tenant,
            client=session.bank_client,
            session_id=session.id,
            body=body,
            reason=reason,
        )


def _confirmation_time(session: Session) -> float:
    return min(MIN_CONFIRMATION_TIME, (session.expires_at - session.created_at).total_seconds())


def _token_set(tokens: TokenResponse) -> TokenSet:
    assert tokens.access_token is not None
    return TokenSet(tokens.access_token, tokens.refresh_token, tokens.proof_key)


class _GrantedColumns(TypedDict):
    issuer: str
    client_id: str
    scopes: list[str]
    refreshable: bool
    access_token_expires_at: TimeValue | None
    access_token_lifetime: int


def _granted(session: Session, tokens: TokenResponse) -> _GrantedColumns:
    return {
        "issuer": session.issuer,
        "client_id": session.client_id,
        # A response without a scope grants all requested scopes (RFC 6749 section 5.1).
        "scopes": session.scopes if tokens.scopes is None else tokens.scopes,
        "refreshable": tokens.refresh_token is not None,
        "access_token_expires_at": _expires_at(session, tokens.lifetime),
        "access_token_lifetime": tokens.lifetime or 0,
    }


def _expires_at(session: Session, lifetime: int | None) -> TimeValue | None:
    if lifetime is None:
        return None
    return session.exchanged_at + timedelta(seconds=lifetime) if session.exchanged_at else seconds_from_now(lifetime)


def _obstacle_to_renewal(connection: Connection | None, claims: VerifiedClaims) -> LoginError | None:
    if connection is None or connection.status is ConnectionStatus.REVOKED:
        return LoginError("the connection was revoked meanwhile", code="connection_revoked")
    if connection.status is ConnectionStatus.PENDING_CONFIRMATION:
        return LoginError("the link of the connection has not been confirmed yet", code="connection_not_ready")
    if connection.subject != claims.subject:
        return LoginError("another user logged in than the one who linked this account", code="subject_mismatch")
    return None


def _check_bearer(tokens: TokenResponse, *, was_proof_sent: bool) -> None:
    if was_proof_sent:
        raise LoginError("the bank did not bind the token to the broker's key", code="token_not_bound")
    if tokens.token_type.lower() != "bearer":
        raise LoginError("the bank sent tokens of a type other than Bearer", code="token_type_unsupported")
