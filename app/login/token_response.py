"""Handles the token response to a code: it is stored as it came, and only then validated and linked.

Until it is in the database it is on disk: a grant whose tokens were lost could not be revoked.
"""

import asyncio
from datetime import timedelta

from pydantic import SecretStr

from app.concurrency.retry import retry_until_done
from app.connections.revoke import revoke_token_response
from app.core import Core
from app.errors import BankError, LoginError
from app.login.link_account import AccountLinker
from app.login.session_lease import SessionLease
from app.observability.logs import get_logger
from app.spool.logins import LoginSpool, UnsavedTokenResponse
from app.store.enums import SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.session_secrets import session_associated_data
from app.store.sessions import Session, change_session, get_session, lock_session

# Retention never removes a session that is younger than this, in seconds.
_MIN_SESSION_RETENTION = 86_400.0
logger = get_logger(__name__)


class TokenResponses:
    """Completes logins for which the bank has answered."""

    def __init__(self, core: Core, *, spool: LoginSpool, account_linker: AccountLinker, lease: SessionLease) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._spool = spool
        self._account_linker = account_linker
        self._lease = lease

    async def spool(self, unsaved: UnsavedTokenResponse) -> None:
        """Write a response to disk. Called as soon as it has arrived."""
        await self._spool.add(unsaved)

    def is_spooled(self, session_id: str) -> bool:
        """Return whether this replica still has a response of this session on disk."""
        return self._spool.contains(session_id)

    async def store_and_complete(self, unsaved: UnsavedTokenResponse) -> None:
        """Store a spooled response, however long the database is unavailable, and complete its login."""
        session = await retry_until_done(lambda: self._store(unsaved), about=unsaved.session_id)
        await self._spool.remove(unsaved.session_id)
        if session is not None:
            await self.complete(session)

    async def replay(self) -> None:
        """Complete the logins whose responses an earlier process left in the spool."""
        spooled = list(self._spool.entries())
        for unsaved in spooled:
            logger.warning("spool_replayed", session_id=unsaved.session_id)
        results = await asyncio.gather(
            *(self.store_and_complete(unsaved) for unsaved in spooled), return_exceptions=True
        )
        for unsaved, result in zip(spooled, results, strict=True):
            if isinstance(result, Exception):
                logger.error("login_crashed", session_id=unsaved.session_id, exc_info=result)

    async def complete(self, session: Session) -> None:
        """Validate and link the response that is stored in the session.

        If the bank's keys are unavailable, this is retried until the session expires.
        """
        assert session.token_response is not None
        if not self._account_linker.is_own(session):
            # The response is stored. A replica with the client that started the login completes it.
            logger.error(
                "login_of_other_client", session_id=session.id, issuer=session.issuer, client_id=session.client_id
            )
            return
        until = self._clock.monotonic() + session.seconds_left
        body: SecretStr | None = None
        try:
            body = self._key_ring.decrypt(session.token_response, session_associated_data("token_response", session.id))
            stored = body
            grant = await self._lease.retry_until_expired(
                session, until, lambda: self._account_linker.validate(session, stored), BankError
            )
            status = await retry_until_done(lambda: self._account_linker.link(session, stored, grant), about=session.id)
        except (LoginError, BankError) as error:
            await self.fail(session, error, body)
        except Exception:
            logger.exception("login_crashed", session_id=session.id)
            # Housekeeping resumes it until it expires. Then it must be ended here, and its grant revoked.
            if session.seconds_left <= 0:
                if body is None:
                    # Tokens that cannot be decrypted cannot be revoked at the bank.
                    logger.error("tokens_unreadable", session_id=session.id, detail="the login ended without them")  # noqa: TRY400
                fault = LoginError("the broker has an internal error; see its log", code="internal_error")
                await self.fail(session, fault, body)
        else:
            logger.info("login_ended", session_id=session.id, status=status)

    async def fail(self, session: Session, error: LoginError | BankError, body: SecretStr | None) -> None:
        """End a login that must not succeed, and revoke its tokens at the bank."""
        await retry_until_done(lambda: self._account_linker.reject(session, error, body), about=session.id)
        logger.warning("login_ended", session_id=session.id, status=SessionStatus.FAILED, code=error.code)

    async def _store(self, unsaved: UnsavedTokenResponse) -> Session | None:
        """Store a response and return its session. If the login has ended meanwhile, revoke the tokens instead."""
        sealed = self._key_ring.encrypt(unsaved.body, session_associated_data("token_response", unsaved.session_id))
        # The tokens' lifetime began when they were received; a clock that was set back must not extend it.
        age = max(self._clock.now() - unsaved.received_at, timedelta()).total_seconds()
        async with self._database.transaction() as transaction:
            current = await lock_session(transaction, unsaved.session_id)
            status = current.status if current else SessionStatus.CANCELLED
            if status is not SessionStatus.EXCHANGING:
                if current is None and age > _MIN_SESSION_RETENTION:
                    # The session may have been linked and then removed for its age: its tokens may be in use.
                    logger.error("answer_too_old", session_id=unsaved.session_id)
                elif status not in (SessionStatus.COMPLETED, SessionStatus.AWAITING_CONFIRMATION):
                    await revoke_token_response(
                        transaction,
                        self._key_ring,
                        tenant=unsaved.tenant,
                        client=current.bank_client if current else self._account_linker.client,
                        session_id=unsaved.session_id,
                        body=unsaved.body,
                        reason="given_up",
                    )
                return None
            await change_session(
                transaction,
                unsaved.session_id,
                token_response=sealed,
                exchanged_at=seconds_from_now(-age),
                code_verifier=None,
                lease_until=seconds_from_now(self._lease.seconds),
            )
            return await get_session(transaction, unsaved.session_id)
