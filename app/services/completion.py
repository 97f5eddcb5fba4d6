"""Ending a login: the redirect is checked, the code exchanged, the answer stored, validated, and linked.

The state is used up in one transaction, so whatever follows happens once. From there the work belongs to the process:
a browser that closes cuts nothing short, and what a replica left half done is taken up by another.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from pydantic import SecretStr

from app.clock import Clock
from app.encryption import KeyRing
from app.errors import BankError, DatabaseUnavailable, InvalidRequest, LoginError
from app.logs import get_logger
from app.oidc.authorization import ERRORS, AuthorizationResponse, check_issuer
from app.oidc.discovery import Provider
from app.oidc.dpop import ProofKey
from app.oidc.refusals import BankRateLimited
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import BankUnreachable
from app.randomness import digest, jitter, same
from app.services.background import BackgroundTasks, report_fault
from app.services.consent import revoke_answer
from app.services.insist import insist
from app.services.linking import Linking
from app.store import audit
from app.store.database import Database, Transaction
from app.store.moments import from_now
from app.store.sessions import (
    Session,
    SessionStatus,
    change_session,
    end_session,
    get_session,
    lock_session,
    proof_key_of,
    session_binding,
)

# A replica that works on an exchange says so at least this often; after it, another one takes over. Seconds.
LEASE = 30.0
_EXCHANGE_DEADLINE = 20.0
_RETRY = 1.0
Result = TypeVar("Result")
logger = get_logger(__name__)


class Completion:
    """Takes redirects from the bank, and carries logins to their end."""

    def __init__(
        self,
        *,
        database: Database,
        key_ring: KeyRing,
        provider: Provider,
        token_endpoint: TokenEndpoint,
        linking: Linking,
        tasks: BackgroundTasks,
        clock: Clock,
        patience: float,
    ) -> None:
        """`patience`: the seconds that a browser is kept waiting before it is shown a page that asks again."""
        self._database = database
        self._key_ring = key_ring
        self._provider = provider
        self._token_endpoint = token_endpoint
        self._linking = linking
        self._tasks = tasks
        self._clock = clock
        self._patience = patience

    async def receive(
        self, response: AuthorizationResponse, browser: str | None, new_browser: str
    ) -> tuple[Session, bool]:
        """Take a redirect and return its session, in most cases ended, and whether it is this browser's.

        A login that no browser is bound to is bound to `new_browser` by the first opening, never to a secret that the
        browser brought, which somebody else may have put there. A second opening changes
        nothing and shows what became of the first. Raises InvalidRequest where the state is unknown or has expired, or
        the login was begun in another browser.
        """
        session, is_first = await self._use_up(response, browser, new_browser)
        if is_first and session.status is SessionStatus.EXCHANGING:
            task = self._tasks.spawn(self._carry_on(session, response), f"login {session.id}")
            await asyncio.wait({task}, timeout=self._patience)
            async with self._database.transaction() as transaction:
                session = await get_session(transaction, session.id) or session
        return session, is_first or _is_bound_to(session, browser)

    async def resume(self, session: Session) -> None:
        """Take up a login that another replica has left. Its code is not presented again."""
        if session.token_response is None:
            error = LoginError("the broker was interrupted; log in again", code="exchange_interrupted")
            await self._fail(session, error, None)
        else:
            await self._validate_and_link(session)

    async def _use_up(
        self, response: AuthorizationResponse, browser: str | None, new_browser: str
    ) -> tuple[Session, bool]:
        state = digest(response.state.get_secret_value())
        async with self._database.transaction() as transaction:
            session = await lock_session(transaction, stitch_state=state)
            if session is None:
                raise InvalidRequest("this login is not known; start again where you came from", code="state_unknown")
            if session.status is SessionStatus.EXPIRED:
                raise InvalidRequest("this login took too long; start again where you came from", code="state_expired")
            if session.status is not SessionStatus.PENDING:
                return session, False
            if session.browser_digest is None:
                await change_session(transaction, session.id, browser_digest=digest(new_browser))
            elif not _is_bound_to(session, browser):
                raise InvalidRequest(
                    "this login was begun in another browser; finish it there, or start again", code="other_browser"
                )
            if not response.grants:
                await _end_without_code(transaction, session, response, self._provider.issuer)
            else:
                await change_session(
                    transaction, session.id, status=SessionStatus.EXCHANGING, lease_until=from_now(LEASE)
                )
            used_up = await get_session(transaction, session.id)
        assert used_up is not None
        return used_up, True

    async def _carry_on(self, session: Session, response: AuthorizationResponse) -> None:
        assert response.code is not None
        until = self._clock.monotonic() + session.seconds_left
        try:
            metadata = await self._while_time_is_left(session, until, self._provider.metadata, BankError)
            check_issuer(response, metadata)
            body = await self._exchange(session, until, response.code)
        except (LoginError, BankError) as error:
            await self._fail(session, error, None)
            return
        kept = await insist(lambda: self._keep(session, body), session.id)
        if kept.status is SessionStatus.EXCHANGING:
            await self._validate_and_link(kept)

    async def _exchange(self, session: Session, until: float, code: SecretStr) -> SecretStr:
        assert session.code_verifier is not None
        verifier = self._key_ring.decrypt(session.code_verifier, session_binding("code_verifier", session.id))
        proof_key = proof_key_of(session, self._key_ring)
        # Repeated only where the bank certainly has not seen the code.
        return await self._while_time_is_left(
            session,
            until,
            lambda: self._token_endpoint.exchange(
                code=code,
                code_verifier=verifier,
                redirect_uri=session.redirect_uri,
                deadline=_EXCHANGE_DEADLINE,
                proof_key=ProofKey.parse(proof_key) if proof_key else None,
            ),
            (BankUnreachable, BankRateLimited),
        )

    async def _keep(self, session: Session, body: SecretStr) -> Session:
        """Store the bank's answer as it came, before anything else is done with it.

        Where the login was given up meanwhile, the tokens are revoked instead.
        """
        sealed = self._key_ring.encrypt(body, session_binding("token_response", session.id))
        async with self._database.transaction() as transaction:
            current = await lock_session(transaction, session_id=session.id)
            if current is None or current.status is not SessionStatus.EXCHANGING:
                await revoke_answer(transaction, self._key_ring, session, body, reason="given_up")
                return replace(session, status=current.status if current else SessionStatus.CANCELLED)
            await change_session(
                transaction,
                session.id,
                token_response=sealed,
                exchanged_at=from_now(0),
                code_verifier=None,
                lease_until=from_now(LEASE),
            )
            kept = await get_session(transaction, session.id)
        assert kept is not None
        return kept

    async def _validate_and_link(self, session: Session) -> None:
        assert session.token_response is not None
        body = self._key_ring.decrypt(session.token_response, session_binding("token_response", session.id))
        until = self._clock.monotonic() + session.seconds_left
        try:
            grant = await self._while_time_is_left(
                session, until, lambda: self._linking.validate(session, body), BankError
            )
        except (LoginError, BankError) as error:
            await self._fail(session, error, body)
            return
        except Exception:
            # Taken up again as long as there is time; then nobody would ever end it, nor its grant.
            if session.seconds_left > 0:
                raise
            logger.exception("login_crashed", session_id=session.id)
            fault = LoginError("the broker has a fault; its log tells more", code="internal_error")
            await self._fail(session, fault, body)
            return
        status = await insist(lambda: self._linking.link(session, body, grant), session.id)
        logger.info("login_ended", session_id=session.id, status=status)

    async def _fail(self, session: Session, error: LoginError | BankError, body: SecretStr | None) -> None:
        await insist(lambda: self._linking.refuse(session, error, body), session.id)
        logger.warning("login_ended", session_id=session.id, status=SessionStatus.FAILED, code=error.code)

    async def _while_time_is_left(
        self,
        session: Session,
        until: float,
        work: Callable[[], Awaitable[Result]],
        repeat_on: type[BankError] | tuple[type[BankError], ...],
    ) -> Result:
        """Repeat `work` on errors that cannot have changed anything at the bank, until the login's time is over."""
        async with self._at_work(session):
            while True:
                try:
                    return await work()
                except repeat_on as error:
                    pause = max(jitter(_RETRY), error.retry_after or 0.0)
                    if self._clock.monotonic() + pause > until:
                        raise
                    logger.warning("login_waits_for_bank", session_id=session.id, code=error.code)
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def _at_work(self, session: Session) -> AsyncIterator[None]:
        """Keep the lease for as long as the block, however long the bank takes or wants to be left alone."""
        keeping = asyncio.create_task(self._keep_lease(session))
        keeping.add_done_callback(report_fault)
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep_lease(self, session: Session) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                async with self._database.transaction() as transaction:
                    await change_session(transaction, session.id, lease_until=from_now(LEASE))
            except DatabaseUnavailable:
                logger.warning("waiting_for_database", about=session.id)


async def _end_without_code(
    transaction: Transaction, session: Session, response: AuthorizationResponse, issuer: str
) -> None:
    foreign = response.iss is not None and response.iss != issuer
    cancelled = response.is_cancelled and not foreign
    status = SessionStatus.CANCELLED if cancelled else SessionStatus.FAILED
    error, detail = (None, None) if cancelled else _said_by(response)
    if foreign:
        error, detail = "issuer_mismatch", "the redirect does not come from the configured issuer"
    await end_session(transaction, session.id, status, error_code=error, error_detail=detail)
    await audit.record(
        transaction,
        tenant=session.tenant,
        actor=audit.BROKER,
        action=f"session.{status}",
        session_id=session.id,
        error=error,
    )


def _said_by(response: AuthorizationResponse) -> tuple[str, str | None]:
    """Pass on a code that the bank may send: one that looks like the broker's own must not be taken for it."""
    if response.error is not None and response.error in ERRORS:
        return response.error, _words_of(response.error_description)
    words = " ".join(filter(None, (response.error, response.error_description)))
    return "authorization_failed", _words_of(words)


def _words_of(text: str | None) -> str | None:
    """Keep what RFC 6749 section 4.1.2.1 allows, not more of it than a log line bears, and whose words they are."""
    return "the bank said: " + "".join(c for c in text[:200] if " " <= c <= "~" and c not in '"\\') if text else None


def _is_bound_to(session: Session, browser: str | None) -> bool:
    return browser is not None and session.browser_digest is not None and same(digest(browser), session.browser_digest)
