"""Handles the redirect from the bank: checks it and exchanges the code. `app.login.token_response` does the rest.

The state is used up in one transaction, so everything after it happens once. From then on the work runs in a task of
the process: it goes on if the browser is closed, and another replica resumes it if this one is lost.
"""

import asyncio

from app.bank.bank import Bank
from app.base.hashing import sha256_hex
from app.core import Core
from app.errors import BankError, BankRateLimited, BankUnreachable, InvalidRequest, LoginError
from app.login.browser_binding import is_bound_to
from app.login.session_lease import SessionLease
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
from app.store.session_secrets import proof_key_of, session_associated_data
from app.store.sessions import Session, change_session, end_session, get_session, lock_session_by_state

_EXCHANGE_TIMEOUT = 20.0  # seconds

# How many seconds a browser waits for the end of its login before it gets a page that reloads itself.
BROWSER_TIMEOUT = 8.0

logger = get_logger(__name__)


class CallbackHandler:
    """Handles redirects from the bank."""

    def __init__(
        self, core: Core, bank: Bank, *, token_responses: TokenResponses, lease: SessionLease, browser_timeout: float
    ) -> None:
        """`browser_timeout`: how many seconds a browser waits before it gets a page that reloads itself."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._tasks = core.tasks
        self._clock = core.clock
        self._own_client = bank.own_client
        self._provider = bank.provider
        self._token_endpoint = bank.token_endpoint
        self._token_responses = token_responses
        self._lease = lease
        self._browser_timeout = browser_timeout

    async def receive(
        self, response: AuthorizationResponse, browser: str | None, new_browser: str
    ) -> tuple[Session, bool]:
        """Handle a redirect. Return its session, usually ended, and whether it belongs to this browser.

        `browser` is the secret that the browser sent. A login that is not bound to a browser yet is bound to
        `new_browser`, never to a secret that the browser brought: an attacker may have planted it. A second redirect
        with the same state changes nothing and returns the outcome of the first. Raises InvalidRequest if the state is
        unknown or has expired, or the login was started in another browser, and BankClientMismatch, which changes
        nothing either: a replica with the right client can still complete the login.
        """
        session, is_first = await self._use_state(response, browser, new_browser)
        if is_first and session.status is SessionStatus.EXCHANGING:
            task = self._tasks.spawn(self._complete(session, response), f"login {session.id}")
            await asyncio.wait({task}, timeout=self._browser_timeout)
            async with self._database.transaction() as transaction:
                session = await get_session(transaction, session.id) or session
        return session, is_first or is_bound_to(session.browser_digest, browser)

    async def resume(self, session: Session) -> None:
        """Resume a login that another replica has left. Its code is not presented again."""
        if session.token_response is None:
            # This replica has the response on disk and is still trying to store it.
            if self._token_responses.is_spooled(session.id) and session.seconds_left > 0:
                return
            error = LoginError("the broker was interrupted; log in again", code="exchange_interrupted")
            await self._token_responses.fail(session, error, None)
        else:
            await self._token_responses.complete(session)

    async def _use_state(
        self, response: AuthorizationResponse, browser: str | None, new_browser: str
    ) -> tuple[Session, bool]:
        state = sha256_hex(response.state.get_secret_value())
        is_foreign = not response.is_successful and not await self._is_from_issuer(response)
        async with self._database.transaction() as transaction:
            session = await lock_session_by_state(transaction, state)
            if session is None:
                raise InvalidRequest(
                    "this login is not known; start again from the app that you came from", code="state_unknown"
                )
            if session.status is SessionStatus.EXPIRED:
                raise InvalidRequest(
                    "this login took too long; start again from the app that you came from", code="state_expired"
                )
            if session.status is not SessionStatus.PENDING:
                return session, False
            self._own_client.require_session(session.bank_client)
            if session.browser_digest is None:
                await change_session(transaction, session.id, browser_digest=sha256_hex(new_browser))
            elif not is_bound_to(session.browser_digest, browser):
                raise InvalidRequest(
                    "this login was started in another browser; finish it there, or start again", code="other_browser"
                )
            if not response.is_successful:
                await _end_without_code(transaction, session, response, is_foreign=is_foreign)
            else:
                await change_session(
                    transaction,
                    session.id,
                    status=SessionStatus.EXCHANGING,
                    lease_until=seconds_from_now(self._lease.seconds),
                )
            used_up = await get_session(transaction, session.id)
        assert used_up is not None
        return used_up, True

    async def _is_from_issuer(self, response: AuthorizationResponse) -> bool:
        """Check the issuer of a redirect without a code (RFC 9207 section 2.4), as far as metadata are available."""
        if response.iss is not None:
            return response.iss == self._provider.issuer
        try:
            return not (await self._provider.metadata()).authorization_response_iss_parameter_supported
        except BankError:
            return True

    async def _complete(self, session: Session, response: AuthorizationResponse) -> None:
        until = self._clock.monotonic() + session.seconds_left
        try:
            metadata = await self._lease.retry_until_expired(session, until, self._provider.metadata, BankError)
            checked = check_authorization_response(response, metadata, state_sha256=session.stitch_state)
            unsaved = await self._exchange(session, until, checked)
        except (LoginError, BankError) as error:
            await self._token_responses.fail(session, error, None)
            return
        await self._token_responses.store_and_complete(unsaved)

    async def _exchange(
        self, session: Session, until: float, response: CheckedAuthorizationResponse
    ) -> UnsavedTokenResponse:
        assert session.code_verifier is not None
        verifier = self._key_ring.decrypt(session.code_verifier, session_associated_data("code_verifier", session.id))
        proof_key = proof_key_of(session, self._key_ring)

        async def exchange() -> UnsavedTokenResponse:
            body = await self._token_endpoint.exchange(
                response,
                code_verifier=verifier,
                redirect_uri=session.redirect_uri,
                timeout_seconds=_EXCHANGE_TIMEOUT,
                proof_key=ProofKey.from_private_jwk(proof_key) if proof_key else None,
            )
            unsaved = UnsavedTokenResponse(session.tenant, session.id, self._clock.now(), body)
            # At once, even before the lease is released, which may take a while.
            await self._token_responses.spool(unsaved)
            return unsaved

        # Retried only if the bank has certainly not seen the code.
        return await self._lease.retry_until_expired(session, until, exchange, (BankUnreachable, BankRateLimited))


async def _end_without_code(
    transaction: Transaction, session: Session, response: AuthorizationResponse, *, is_foreign: bool
) -> None:
    cancelled = response.is_cancelled and not is_foreign
    status = SessionStatus.CANCELLED if cancelled else SessionStatus.FAILED
    error, detail = (None, None) if cancelled else _error_of(response)
    if is_foreign:
        error, detail = "issuer_mismatch", "the redirect does not come from the configured issuer"
    await end_session(transaction, session.id, status, error_code=error, error_detail=detail)
    await audit.record(transaction, f"session.{status}", of=session, error=error)


def _error_of(response: AuthorizationResponse) -> tuple[str, str | None]:
    """Keep only codes that a bank may send: others could be mistaken for the broker's own."""
    if response.error is not None and response.error in ERROR_CODES:
        return response.error, _quoted(response.error_description)
    text = " ".join(filter(None, (response.error, response.error_description)))
    return "authorization_failed", _quoted(text)


def _quoted(text: str | None) -> str | None:
    """Quote the bank: the first 200 characters, as far as RFC 6749 section 4.1.2.1 allows them."""
    return "the bank said: " + "".join(c for c in text[:200] if " " <= c <= "~" and c not in '"\\') if text else None
