"""Ending a login: the redirect is checked and the code exchanged, whose answer `app.login.token_response` carries on.

The state is used up in one transaction, so whatever follows happens once. From there the work belongs to the process:
a browser that closes cuts nothing short, and what a replica left half done is taken up by another.
"""

import asyncio

from pydantic import SecretStr

from app.base.clock import Clock
from app.base.encryption import KeyRing
from app.base.randomness import digest, same
from app.concurrency.background_tasks import BackgroundTasks
from app.errors import BankError, BankRateLimited, BankUnreachable, InvalidRequest, LoginError
from app.login.session_lease import LEASE, SessionLeases
from app.login.token_response import Answers
from app.observability.logs import get_logger
from app.oidc.authorization import ERRORS, AuthorizationResponse, check_issuer
from app.oidc.dpop import ProofKey
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.spool.logins import UnsavedAnswer
from app.store import audit
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import from_now
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

# Seconds.
_EXCHANGE_DEADLINE = 20.0
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
        answers: Answers,
        leases: SessionLeases,
        tasks: BackgroundTasks,
        clock: Clock,
        patience: float,
    ) -> None:
        """`patience`: the seconds that a browser is kept waiting before it is shown a page that asks again."""
        self._database = database
        self._key_ring = key_ring
        self._provider = provider
        self._token_endpoint = token_endpoint
        self._answers = answers
        self._leases = leases
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
            # Its answer is here, on its way to the database; it will not be for ever.
            if self._answers.has_kept(session.id) and session.seconds_left > 0:
                return
            error = LoginError("the broker was interrupted; log in again", code="exchange_interrupted")
            await self._answers.fail(session, error, None)
        else:
            await self._answers.carry_on(session)

    async def _use_up(
        self, response: AuthorizationResponse, browser: str | None, new_browser: str
    ) -> tuple[Session, bool]:
        state = digest(response.state.get_secret_value())
        is_foreign = not response.grants and not await self._is_of_issuer(response)
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
                await _end_without_code(transaction, session, response, is_foreign=is_foreign)
            else:
                await change_session(
                    transaction, session.id, status=SessionStatus.EXCHANGING, lease_until=from_now(LEASE)
                )
            used_up = await get_session(transaction, session.id)
        assert used_up is not None
        return used_up, True

    async def _is_of_issuer(self, response: AuthorizationResponse) -> bool:
        """Tell so of a redirect without a code (RFC 9207 section 2.4); what the bank announces may not be known."""
        if response.iss is not None:
            return response.iss == self._provider.issuer
        try:
            return not (await self._provider.metadata()).sends_issuer
        except BankError:
            return True

    async def _carry_on(self, session: Session, response: AuthorizationResponse) -> None:
        assert response.code is not None
        until = self._clock.monotonic() + session.seconds_left
        try:
            metadata = await self._leases.while_time_is_left(session, until, self._provider.metadata, BankError)
            check_issuer(response, metadata)
            answer = await self._exchange(session, until, response.code)
        except (LoginError, BankError) as error:
            await self._answers.fail(session, error, None)
            return
        await self._answers.take(answer)

    async def _exchange(self, session: Session, until: float, code: SecretStr) -> UnsavedAnswer:
        assert session.code_verifier is not None
        verifier = self._key_ring.decrypt(session.code_verifier, session_binding("code_verifier", session.id))
        proof_key = proof_key_of(session, self._key_ring)

        async def exchange() -> UnsavedAnswer:
            body = await self._token_endpoint.exchange(
                code=code,
                code_verifier=verifier,
                redirect_uri=session.redirect_uri,
                deadline=_EXCHANGE_DEADLINE,
                proof_key=ProofKey.parse(proof_key) if proof_key else None,
            )
            answer = UnsavedAnswer(session.tenant, session.id, self._clock.now(), body)
            # Before anything else, the end of the lease's keeping too, which may take its time.
            await self._answers.keep(answer)
            return answer

        # Repeated only where the bank certainly has not seen the code.
        return await self._leases.while_time_is_left(session, until, exchange, (BankUnreachable, BankRateLimited))


async def _end_without_code(
    transaction: Transaction, session: Session, response: AuthorizationResponse, *, is_foreign: bool
) -> None:
    cancelled = response.is_cancelled and not is_foreign
    status = SessionStatus.CANCELLED if cancelled else SessionStatus.FAILED
    error, detail = (None, None) if cancelled else _said_by(response)
    if is_foreign:
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
