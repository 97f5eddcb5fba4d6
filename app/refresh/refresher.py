"""Refreshes one version of a connection's tokens in three steps: claim, call, save. See docs/refresh.md.

The claim is committed before the bank is called, so no token is spent while the database cannot be written. No
transaction is open during the call, whose deadline is shorter than the claim's lease. The response is written to disk
first, then to the database.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import SecretStr

from app.bank.bank import Bank
from app.base.randomness import new_id
from app.concurrency.backoff import exponential_backoff
from app.concurrency.retry import RetryLater, Sleep, retry_until_done
from app.core import Core
from app.errors import (
    BankError,
    BankOutcomeUnknown,
    BankRateLimited,
    BankRequestRejected,
    BankResponseInvalid,
    BankServerError,
    BankUnreachable,
    BrokerError,
    ConnectionRevoked,
    InvalidClient,
    InvalidGrant,
    ReauthorizationRequired,
)
from app.observability.logs import get_logger
from app.observability.metrics import REFRESHES
from app.observability.tracing import span
from app.oidc.id_token import unverified_subject
from app.oidc.token_response import TokenResponse
from app.spool.refreshes import RefreshSpool, UnsavedRefresh
from app.store import audit
from app.store.bank_clients import invalid_grant_storm
from app.store.connections import TokenSet
from app.store.enums import RefreshCause, RefreshOutcome
from app.store.postgresql.database import ForTenant
from app.store.refreshes import (
    Claim,
    NewTokens,
    SaveResult,
    claim_refresh,
    fail_refresh,
    record_invalid_grant,
    save_refresh,
)
from app.store.revocations import enqueue_revocation

# The pause after a failed attempt doubles from the first to the second, in seconds.
_INITIAL_PAUSE, _MAX_PAUSE = 1.0, 60.0
_OUTCOME_OF_ERROR: dict[type[BankError], RefreshOutcome] = {
    BankUnreachable: RefreshOutcome.NOT_SENT,
    BankOutcomeUnknown: RefreshOutcome.UNKNOWN,
    BankResponseInvalid: RefreshOutcome.BAD_ANSWER,
    BankServerError: RefreshOutcome.BANK_FAILED,
    BankRateLimited: RefreshOutcome.RATE_LIMITED,
    InvalidClient: RefreshOutcome.CLIENT_REFUSED,
    BankRequestRejected: RefreshOutcome.REQUEST_REFUSED,
}
_ERROR_OF_OUTCOME: dict[str, type[BankError]] = {outcome: error for error, outcome in _OUTCOME_OF_ERROR.items()}
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds. The lease must outlast the deadline, or two replicas could present the same token."""

    deadline: float
    lease: float


class Refresher:
    """Carries out single refreshes. `AccessTokens` decides which are needed, `RefreshCoordinator` who waits."""

    def __init__(
        self, core: Core, bank: Bank, *, spool: RefreshSpool, timing: Timing, sleep: Sleep = asyncio.sleep
    ) -> None:
        """`sleep` waits between attempts to save; tests pass their own."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._provider = bank.provider
        self._token_endpoint = bank.token_endpoint
        self._circuit_breaker = bank.circuit_breaker
        self._client = bank.own_client.identity
        self._spool = spool
        self._timing = timing
        self._sleep = sleep
        self._replica = new_id("rep")

    async def claim(self, *, tenant: str, connection_id: str, version: int, cause: RefreshCause) -> Claim | None:
        """Step 1: claim the right to refresh. Return None if another replica holds it or no refresh is possible now."""
        # Before the claim: a bank that keeps failing, or whose endpoints are unknown, must not block the connection.
        self._circuit_breaker.require_closed(tenant)
        await self._provider.metadata()
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            # The lease begins now; the time spent waiting for a database connection does not count.
            began = self._clock.monotonic()
            claim = await claim_refresh(
                transaction,
                self._key_ring,
                client=self._client,
                tenant=tenant,
                connection_id=connection_id,
                version=version,
                cause=cause,
                replica=self._replica,
                lease=self._timing.lease,
            )
        return claim and replace(claim, claimed_at=began)

    async def carry_out(self, claim: Claim) -> None:
        """Steps 2 and 3: present the refresh token and save the response.

        Returns once the connection has a later version than `claim.version`. Raises ReauthorizationRequired,
        ConnectionRevoked, or the BankError that made the refresh fail.
        """
        with span("refresh", attributes={"broker.connection_id": claim.connection_id, "broker.cause": claim.cause}):
            await self._carry_out(claim)

    async def _carry_out(self, claim: Claim) -> None:
        requested_at = self._clock.now()
        await self._require_time_left(claim)
        try:
            response = await self._token_endpoint.refresh(
                claim.refresh_token, timeout_seconds=self._timing.deadline, is_bound=claim.is_bound
            )
        except InvalidGrant:
            await self._end_connection(claim)
        except BankError as error:
            if isinstance(error, BankRequestRejected):
                self._circuit_breaker.record_success()
            else:
                self._circuit_breaker.record_failure(error.retry_after, tenant=claim.tenant)
            await self._record_failure(claim, error)
            raise
        else:
            self._circuit_breaker.record_success()
            await self.save(UnsavedRefresh(claim, _new_tokens(response), requested_at))
            if response.access_token is None:
                raise BankResponseInvalid("the bank rotated the refresh token and sent no access token")

    async def _require_time_left(self, claim: Claim) -> None:
        """Raise BankUnreachable if this process was delayed so long that the lease could end during the call."""
        if self._clock.monotonic() - claim.claimed_at > self._timing.lease - self._timing.deadline:
            error = BankUnreachable("the process was delayed, so the refresh was not started")
            await self._record_failure(claim, error)
            raise error

    async def save(self, unsaved: UnsavedRefresh) -> None:
        """Step 3: save the response, however long the database is unavailable.

        Raises ConnectionRevoked, or ReauthorizationRequired if the tokens are another user's.
        """
        claim = unsaved.claim
        await self._spool.add(unsaved)
        saved = await retry_until_done(lambda: self._store(unsaved), about=claim.connection_id, sleep=self._sleep)
        await self._spool.remove(claim)
        self._log_and_count(claim, saved)
        if saved is SaveResult.REVOKED:
            raise ConnectionRevoked("the connection was disconnected while it was refreshed")
        if saved is SaveResult.SUBJECT_MISMATCH:
            raise ReauthorizationRequired("the bank answered with another user's tokens, which were not accepted")

    async def replay(self) -> None:
        """Save the responses that an earlier process left in the spool."""
        spooled = list(self._spool.entries())
        for unsaved in spooled:
            logger.warning("spool_replayed", connection_id=unsaved.claim.connection_id, version=unsaved.claim.version)
        # Concurrently: one that must wait, or that cannot be stored, must not delay the others.
        results = await asyncio.gather(*(self.save(unsaved) for unsaved in spooled), return_exceptions=True)
        for unsaved, result in zip(spooled, results, strict=True):
            if isinstance(result, Exception) and not isinstance(result, BrokerError):
                logger.error("spool_not_saved", connection_id=unsaved.claim.connection_id, exc_info=result)

    async def _store(self, unsaved: UnsavedRefresh) -> SaveResult:
        claim, new = unsaved.claim, unsaved.new
        # The token's lifetime began when it was requested; a clock that was set back must not extend it.
        age = max(self._clock.now() - unsaved.requested_at, timedelta()).total_seconds()
        async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
            saved = await save_refresh(transaction, self._key_ring, claim, new, age=age)
            if saved in (SaveResult.REVOKED, SaveResult.SUBJECT_MISMATCH):
                await enqueue_revocation(
                    transaction,
                    self._key_ring,
                    tenant=claim.tenant,
                    client=self._client,
                    connection_id=claim.connection_id,
                    tokens=new.tokens,
                    reason=f"{saved}_while_refreshing",
                )
            if saved is SaveResult.STORED:
                await audit.record(
                    transaction, "connection.refreshed", of=claim, version=claim.version + 1, cause=claim.cause
                )
            elif saved is SaveResult.SUBJECT_MISMATCH:
                await audit.record(transaction, "connection.reauthorization_required", of=claim, reason=saved)
        if saved is SaveResult.LATER_CLAIM_IN_PROGRESS:
            raise RetryLater
        return saved

    async def _end_connection(self, claim: Claim) -> None:
        async def store() -> RefreshOutcome:
            async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
                outcome = await record_invalid_grant(transaction, claim)
                if outcome not in (RefreshOutcome.SUPERSEDED, RefreshOutcome.INVALID_GRANT_STORM):
                    await audit.record(transaction, "connection.reauthorization_required", of=claim, reason=outcome)
            return outcome

        outcome = await retry_until_done(store, about=claim.connection_id, sleep=self._sleep)
        self._log_and_count(claim, outcome)
        if outcome is RefreshOutcome.INVALID_GRANT_STORM:
            logger.error("invalid_grant_storm", connection_id=claim.connection_id)
            raise invalid_grant_storm()
        self._circuit_breaker.record_success()
        if outcome is not RefreshOutcome.SUPERSEDED:
            raise ReauthorizationRequired(
                "the bank no longer accepts the consent; start a session with this connection_id"
            )

    async def _record_failure(self, claim: Claim, error: BankError) -> None:
        outcome = _OUTCOME_OF_ERROR.get(type(error), RefreshOutcome.BAD_ANSWER)
        pause = exponential_backoff(claim.failures, initial=_INITIAL_PAUSE, maximum=_MAX_PAUSE)
        pause = max(pause, error.retry_after or 0.0)

        async def store() -> None:
            async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
                await fail_refresh(transaction, claim, outcome, retry_in=pause)

        await retry_until_done(store, about=claim.connection_id, sleep=self._sleep)
        self._log_and_count(claim, outcome)

    def _log_and_count(self, claim: Claim, outcome: str) -> None:
        logger.info(
            "refresh_ended",
            connection_id=claim.connection_id,
            version=claim.version,
            cause=claim.cause,
            outcome=outcome,
        )
        REFRESHES.labels(outcome=outcome, cause=claim.cause).inc()


def _new_tokens(response: TokenResponse) -> NewTokens:
    """Return what to store. A response without an access token has still rotated the refresh token, which is kept."""
    access_token = response.access_token or SecretStr("")
    lifetime = response.lifetime if response.access_token else 0  # so that it is refreshed at its next use
    subject = unverified_subject(response.id_token) if response.id_token else None
    tokens = TokenSet(access_token, response.refresh_token, response.proof_key)
    return NewTokens(tokens, lifetime, response.scopes, subject)


def error_of(outcome: str | None) -> type[BankError]:
    """Return the error that an attempt with this outcome raised, so that each failure has one code."""
    return _ERROR_OF_OUTCOME.get(outcome or "", BankError)
