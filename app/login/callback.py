"""Ending a login: the redirect is checked and the code exchanged, whose answer `app.login.token_response` carries on.

The state is used up in one transaction, so whatever follows happens once. From there the work belongs to the process:
a browser that closes cuts nothing short, and what a replica left half done is taken up by another.
"""

import asyncio

from app.bank.bank import Bank
from app.base.hashing import constant_time_equal, sha256_hex
from app.core import Core
from app.errors import BankError, BankRateLimited, BankUnreachable, InvalidRequest, LoginError
from app.login.session_lease import LEASE, SessionLease
from app.login.token_response import TokenResponses
from app.observability.logs import get_logger
from app.oidc.authorization_response import (
    ERROR_CODES,
    AuthorizationResponse,
    CheckedAuthorizationResponse,
    check_authorization_response,
)
from app.oidc.dpop import ProofKey
from app.spool.logins import UnsavedTokenResponse
from app.store import audit
from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import (
    Session,
    change_session,
    end_session,
    get_session,
    lock_session_by_state,
    proof_key_of,
    session_binding,
)

_EXCHANGE_TIMEOUT = 20.0  # seconds
logger = get_logger(__name__)


class CallbackHandler:
    """Takes redirects from the bank, and carries logins to their end."""

    def __init__(
        self, core: Core, bank: Bank, *, answers: TokenResponses, leases: SessionLease, browser_timeout: float
    ) -> None:
        """`browser_timeout`: how many seconds a browser waits before it gets a page that asks again."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._tasks = core.tasks
        self._clock = core.clock
        self._provider = bank.provider
        self._token_endpoint = bank.token_endpoint
        self._answers = answers
        self._leases = leases
        self._browser_timeout = browser_timeout

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
            await asyncio.wait({task}, timeout=self._browser_timeout)
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
        state = sha256_hex(response.state.get_secret_value())
        is_foreign = not response.is_successful and not await self._is_of_issuer(response)
        async with self._database.transaction() as transaction:
            session = await lock_session_by_state(transaction, state)
            if session is None:
                raise InvalidRequest("this login is not known; start again where you came from", code="state_unknown")
            if session.status is SessionStatus.EXPIRED:
                raise InvalidRequest("this login took too long; start again where you came from", code="state_expired")
            if session.status is not SessionStatus.PENDING:
                return session, False
            if session.browser_digest is None:
                await change_session(transaction, session.id, browser_digest=sha256_hex(new_browser))
            elif not _is_bound_to(session, browser):
                raise InvalidRequest(
                    "this login was begun in another browser; finish it there, or start again", code="other_browser"
                )
            if not response.is_successful:
                await _end_without_code(transaction, session, response, is_foreign=is_foreign)
            else:
                await change_session(
                    transaction, session.id, status=SessionStatus.EXCHANGING, lease_until=seconds_from_now(LEASE)
                )
            used_up = await get_session(transaction, session.id)
        assert used_up is not None
        return used_up, True

    async def _is_of_issuer(self, response: AuthorizationResponse) -> bool:
        """Tell so of a redirect without a code (RFC 9207 section 2.4); what the bank announces may not be known."""
        if response.iss is not None:
            return response.iss == self._provider.issuer
        try:
            return not (await self._provider.metadata()).authorization_response_iss_parameter_supported
        except BankError:
            return True

    async def _carry_on(self, session: Session, response: AuthorizationResponse) -> None:
        until = self._clock.monotonic() + session.seconds_left
        try:
            metadata = await self._leases.while_time_is_left(session, until, self._provider.metadata, BankError)
            checked = check_authorization_response(response, metadata, state_sha256=session.stitch_state)
            answer = await self._exchange(session, until, checked)
        except (LoginError, BankError) as error:
            await self._answers.fail(session, error, None)
            return
        await self._answers.take(answer)

    async def _exchange(
        self, session: Session, until: float, response: CheckedAuthorizationResponse
    ) -> UnsavedTokenResponse:
        assert session.code_verifier is not None
        verifier = self._key_ring.decrypt(session.code_verifier, session_binding("code_verifier", session.id))
        proof_key = proof_key_of(session, self._key_ring)

        async def exchange() -> UnsavedTokenResponse:
            body = await self._token_endpoint.exchange(
                response,
                code_verifier=verifier,
                redirect_uri=session.redirect_uri,
                timeout_seconds=_EXCHANGE_TIMEOUT,
                proof_key=ProofKey.from_private_jwk(proof_key) if proof_key else None,
            )
            answer = UnsavedTokenResponse(session.tenant, session.id, self._clock.now(), body)
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
    await audit.record(transaction, f"session.{status}", of=session, error=error)


def _said_by(response: AuthorizationResponse) -> tuple[str, str | None]:
    """Pass on a code that the bank may send: one that looks like the broker's own must not be taken for it."""
    if response.error is not None and response.error in ERROR_CODES:
        return response.error, _words_of(response.error_description)
    words = " ".join(filter(None, (response.error, response.error_description)))
    return "authorization_failed", _words_of(words)


def _words_of(text: str | None) -> str | None:
    """Keep what RFC 6749 section 4.1.2.1 allows, not more of it than a log line bears, and whose words they are."""
    return "the bank said: " + "".join(c for c in text[:200] if " " <= c <= "~" and c not in '"\\') if text else None


def _is_bound_to(session: Session, browser: str | None) -> bool:
    return (
        browser is not None
        and session.browser_digest is not None
        and constant_time_equal(sha256_hex(browser), session.browser_digest)
    )
