"""The bank's answer to a code: stored as it came, before anything else is done with it; then validated and linked.

Between the bank's answer and the store it is on disk, as nobody could revoke what was lost of it.
"""

import asyncio
from datetime import timedelta
from typing import NamedTuple

from pydantic import SecretStr

from app.concurrency.retry import retry_until_done
from app.connections.revoke import revoke_token_response
from app.core import Core
from app.errors import BankError, LoginError
from app.login.link_account import AccountLinker
from app.login.session_lease import LEASE, SessionLease
from app.observability.logs import get_logger
from app.spool.logins import LoginSpool, UnsavedTokenResponse
from app.store.enums import SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session, get_session, lock_session, session_binding

# For so long no session is removed that was linked. Seconds.
_LONGEST_KNOWN = 86_400.0
logger = get_logger(__name__)


class _Stored(NamedTuple):
    session: Session | None
    """The session that goes on, if it does."""


class TokenResponses:
    """Carries logins from the bank's answer to their end."""

    def __init__(self, core: Core, *, spool: LoginSpool, linking: AccountLinker, leases: SessionLease) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._spool = spool
        self._linking = linking
        self._leases = leases

    async def keep(self, answer: UnsavedTokenResponse) -> None:
        """Put an answer on disk, at once when it has come."""
        await self._spool.add(answer)

    def has_kept(self, session_id: str) -> bool:
        """Tell whether an answer of this session is on this replica's way to the database."""
        return self._spool.contains(session_id)

    async def take(self, answer: UnsavedTokenResponse) -> None:
        """Bring a kept answer into the database, however long that takes, and the login to its end."""
        stored = await retry_until_done(lambda: self._store(answer), about=answer.session_id)
        await self._spool.remove(answer.session_id)
        if stored.session is not None:
            await self.carry_on(stored.session)

    async def replay(self) -> None:
        """Take the answers that an earlier process was killed or stopped with."""
        left_over = list(self._spool.entries())
        for answer in left_over:
            logger.warning("spool_replayed", session_id=answer.session_id)
        results = await asyncio.gather(*(self.take(answer) for answer in left_over), return_exceptions=True)
        for answer, result in zip(left_over, results, strict=True):
            if isinstance(result, Exception):
                logger.error("login_crashed", session_id=answer.session_id, exc_info=result)

    async def carry_on(self, session: Session) -> None:
        """Validate and link the answer that a session keeps. A bank that fails is asked again while there is time."""
        assert session.token_response is not None
        until = self._clock.monotonic() + session.seconds_left
        body: SecretStr | None = None
        try:
            body = self._key_ring.decrypt(session.token_response, session_binding("token_response", session.id))
            answer = body
            grant = await self._leases.while_time_is_left(
                session, until, lambda: self._linking.validate(session, answer), BankError
            )
            status = await retry_until_done(lambda: self._linking.link(session, answer, grant), about=session.id)
        except (LoginError, BankError) as error:
            await self.fail(session, error, body)
        except Exception:
            logger.exception("login_crashed", session_id=session.id)
            # It is taken up again as long as there is time; then nobody would ever end it, nor its grant.
            if session.seconds_left <= 0:
                if body is None:
                    # Nobody can tell the bank to revoke what nobody can read.
                    logger.error("tokens_unreadable", session_id=session.id, detail="its login has ended without them")  # noqa: TRY400
                fault = LoginError("the broker has a fault; its log tells more", code="internal_error")
                await self.fail(session, fault, body)
        else:
            logger.info("login_ended", session_id=session.id, status=status)

    async def fail(self, session: Session, error: LoginError | BankError, body: SecretStr | None) -> None:
        """End a login that must not succeed, and have the bank revoke what it issued."""
        await retry_until_done(lambda: self._linking.refuse(session, error, body), about=session.id)
        logger.warning("login_ended", session_id=session.id, status=SessionStatus.FAILED, code=error.code)

    async def _store(self, answer: UnsavedTokenResponse) -> _Stored:
        """Store an answer. Where the login was given up meanwhile, the tokens are revoked instead."""
        sealed = self._key_ring.encrypt(answer.body, session_binding("token_response", answer.session_id))
        # The tokens' life began before it; a clock that was set back must not prolong it.
        age = max(self._clock.now() - answer.received_at, timedelta()).total_seconds()
        async with self._database.transaction() as transaction:
            current = await lock_session(transaction, answer.session_id)
            status = current.status if current else SessionStatus.CANCELLED
            if status is not SessionStatus.EXCHANGING:
                if current is None and age > _LONGEST_KNOWN:
                    # Whoever finds no session then cannot tell one that was linked, and whose connection lives on.
                    logger.error("answer_too_old", session_id=answer.session_id)
                elif status not in (SessionStatus.COMPLETED, SessionStatus.AWAITING_CONFIRMATION):
                    await revoke_token_response(
                        transaction,
                        self._key_ring,
                        tenant=answer.tenant,
                        session_id=answer.session_id,
                        body=answer.body,
                        reason="given_up",
                    )
                return _Stored(None)
            await change_session(
                transaction,
                answer.session_id,
                token_response=sealed,
                exchanged_at=seconds_from_now(-age),
                code_verifier=None,
                lease_until=seconds_from_now(LEASE),
            )
            return _Stored(await get_session(transaction, answer.session_id))
