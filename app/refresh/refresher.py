"""One refresh of one version, in three visible steps: claim, call, save. See docs/refresh.md.

The claim is committed before the bank is called, so a database that cannot be written spends no token. The call has
no transaction open and a deadline shorter than the claim's lease. The answer goes to disk, then to the database.
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
from app.store.connections import TokenSet
from app.store.enums import RefreshOutcome
from app.store.postgresql.database import ForTenant
from app.store.refreshes import (
    Claim,
    NewTokens,
    Saved,
    claim_refresh,
    end_connection,
    fail_refresh,
    save_refresh,
)
from app.store.revocations import enqueue_revocation

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_OUTCOMES: dict[type[BankError], RefreshOutcome] = {
    BankUnreachable: RefreshOutcome.NOT_SENT,
    BankOutcomeUnknown: RefreshOutcome.UNKNOWN,
    BankResponseInvalid: RefreshOutcome.BAD_ANSWER,
    BankServerError: RefreshOutcome.BANK_FAILED,
    BankRateLimited: RefreshOutcome.RATE_LIMITED,
    InvalidClient: RefreshOutcome.CLIENT_REFUSED,
    BankRequestRejected: RefreshOutcome.REQUEST_REFUSED,
}
_FAILURES: dict[str, type[BankError]] = {outcome: kind for kind, outcome in _OUTCOMES.items()}
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. The lease must outlast the deadline, or two replicas could present one token."""

    deadline: float
    lease: float


class Refresher:
    """Carries out single refreshes. Who may need one, and who waits for it, is decided in `tokens`."""

    def __init__(
        self, core: Core, bank: Bank, *, spool: RefreshSpool, timing: Timing, sleep: Sleep = asyncio.sleep
    ) -> None:
        """`sleep` waits between attempts to save; tests pass their own."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._provider = bank.provider
        self._token_endpoint = bank.token_endpoint
        self._breaker = bank.circuit_breaker
        self._spool = spool
        self._timing = timing
        self._sleep = sleep
        self._replica = new_id("rep")

    async def claim(self, *, tenant: str, connection_id: str, version: int, cause: str) -> Claim | None:
        """Step 1. Take the right to refresh; None where somebody else has it, or nothing is to be done now."""
        # A bank that is known to fail, or cannot even be discovered, must cost neither a claim nor a lease.
        self._breaker.require_closed(tenant)
        await self._provider.metadata()
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            # From here on the lease may run; waiting for the pool before is nothing to count.
            began = self._clock.monotonic()
            claim = await claim_refresh(
                transaction,
                self._key_ring,
                tenant=tenant,
                connection_id=connection_id,
                version=version,
                cause=cause,
                replica=self._replica,
                lease=self._timing.lease,
            )
        return claim and replace(claim, claimed_at=began)

    async def carry_out(self, claim: Claim) -> None:
        """Steps 2 and 3. Return when the connection has moved on from `claim.version`.

        Raises ReauthorizationRequired, ConnectionRevoked, or the BankError that made it fail.
        """
        with span("refresh", attributes={"broker.connection_id": claim.connection_id, "broker.cause": claim.cause}):
            await self._carry_out(claim)

    async def _carry_out(self, claim: Claim) -> None:
        asked_at = self._clock.now()
        await self._require_time(claim)
        try:
            response = await self._token_endpoint.refresh(claim.refresh_token, timeout_seconds=self._timing.deadline)
        except InvalidGrant:
            self._breaker.succeeded()
            await self._believe_invalid_grant(claim)
        except BankError as error:
            if isinstance(error, BankRequestRejected):
                self._breaker.succeeded()
            else:
                self._breaker.failed(error.retry_after, tenant=claim.tenant)
            await self._record_failure(claim, error)
            raise
        else:
            self._breaker.succeeded()
            await self.save(UnsavedRefresh(claim, _new_tokens(response), asked_at))
            if response.access_token is None:
                raise BankResponseInvalid("the bank rotated the refresh token and sent no access token")

    async def _require_time(self, claim: Claim) -> None:
        """Send nothing where this process was held up so long that the lease could end during the call."""
        if self._clock.monotonic() - claim.claimed_at > self._timing.lease - self._timing.deadline:
            error = BankUnreachable("the process was held up, so the refresh was not begun")
            await self._record_failure(claim, error)
            raise error

    async def save(self, unsaved: UnsavedRefresh) -> None:
        """Step 3. Bring the answer into the database, however long that takes. Raises ConnectionRevoked."""
        claim = unsaved.claim
        await self._spool.add(unsaved)
        saved = await retry_until_done(lambda: self._store(unsaved), about=claim.connection_id, sleep=self._sleep)
        await self._spool.remove(claim)
        self._tell(claim, saved)
        if saved is Saved.REVOKED:
            raise ConnectionRevoked("the connection was disconnected while it was refreshed")
        if saved is Saved.SUBJECT_MISMATCH:
            raise ReauthorizationRequired("the bank answered with another user's tokens, which were not accepted")

    async def replay(self) -> None:
        """Save what an earlier process was killed or stopped with."""
        left_over = list(self._spool.entries())
        for unsaved in left_over:
            logger.warning("spool_replayed", connection_id=unsaved.claim.connection_id, version=unsaved.claim.version)
        # All at once: one that waits, or that the database does not take, must not hold up the others.
        results = await asyncio.gather(*(self.save(unsaved) for unsaved in left_over), return_exceptions=True)
        for unsaved, result in zip(left_over, results, strict=True):
            if isinstance(result, Exception) and not isinstance(result, BrokerError):
                logger.error("spool_not_saved", connection_id=unsaved.claim.connection_id, exc_info=result)

    async def _store(self, unsaved: UnsavedRefresh) -> Saved:
        claim, new = unsaved.claim, unsaved.new
        # The token's life began before the bank's answer; a clock that was set back must not prolong it.
        age = max(self._clock.now() - unsaved.requested_at, timedelta()).total_seconds()
        async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
            saved = await save_refresh(transaction, self._key_ring, claim, new, age=age)
            if saved in (Saved.REVOKED, Saved.SUBJECT_MISMATCH):
                await enqueue_revocation(
                    transaction,
                    self._key_ring,
                    tenant=claim.tenant,
                    connection_id=claim.connection_id,
                    tokens=new.tokens,
                    reason=f"{saved}_while_refreshing",
                )
            if saved is Saved.STORED:
                await audit.record(
                    transaction, "connection.refreshed", of=claim, version=claim.version + 1, cause=claim.cause
                )
            elif saved is Saved.SUBJECT_MISMATCH:
                await audit.record(transaction, "connection.reauthorization_required", of=claim, reason=saved)
        if saved is Saved.LATER_CLAIM_UNDER_WAY:
            raise RetryLater
        return saved

    async def _believe_invalid_grant(self, claim: Claim) -> None:
        async def store() -> RefreshOutcome:
            async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
                outcome = await end_connection(transaction, claim)
                if outcome is not RefreshOutcome.SUPERSEDED:
                    await audit.record(transaction, "connection.reauthorization_required", of=claim, reason=outcome)
            return outcome

        outcome = await retry_until_done(store, about=claim.connection_id, sleep=self._sleep)
        self._tell(claim, outcome)
        if outcome is not RefreshOutcome.SUPERSEDED:
            raise ReauthorizationRequired(
                "the bank no longer accepts the consent; start a session with this connection_id"
            )

    async def _record_failure(self, claim: Claim, error: BankError) -> None:
        outcome = _OUTCOMES.get(type(error), RefreshOutcome.BAD_ANSWER)
        pause = exponential_backoff(claim.failures, initial=_FIRST_PAUSE, maximum=_LONGEST_PAUSE)
        pause = max(pause, error.retry_after or 0.0)

        async def store() -> None:
            async with self._database.transaction(ForTenant(claim.tenant)) as transaction:
                await fail_refresh(transaction, claim, outcome, retry_in=pause)

        await retry_until_done(store, about=claim.connection_id, sleep=self._sleep)
        self._tell(claim, outcome)

    def _tell(self, claim: Claim, outcome: str) -> None:
        logger.info(
            "refresh_ended",
            connection_id=claim.connection_id,
            version=claim.version,
            cause=claim.cause,
            outcome=outcome,
        )
        REFRESHES.labels(outcome=outcome, cause=claim.cause).inc()


def _new_tokens(response: TokenResponse) -> NewTokens:
    """An answer without an access token still rotated the refresh token: keep that, and let the rest be expired."""
    access_token = response.access_token or SecretStr("")
    lifetime = response.lifetime if response.access_token else 0
    subject = unverified_subject(response.id_token) if response.id_token else None
    tokens = TokenSet(access_token, response.refresh_token, response.proof_key)
    return NewTokens(tokens, lifetime, response.scopes, subject)


def failure_of(outcome: str | None) -> type[BankError]:
    """Return the error that an attempt with this outcome ended with, so that one failure has one code."""
    return _FAILURES.get(outcome or "", BankError)
