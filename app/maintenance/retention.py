"""Deletes old rows: on one replica at a time, in small batches, with pauses between them."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from app.concurrency.periodic import run_periodically
from app.observability.logs import get_logger
from app.observability.metrics import REMOVED
from app.store import audit
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.job_lease import claim_job, finish_job, renew_job
from app.store.retention import (
    Batch,
    delete_old_deliveries,
    delete_old_interactions,
    delete_old_refresh_attempts,
    delete_old_sessions,
    delete_old_tombstones,
    delete_old_webhooks,
    erase_refused_tokens,
    shorten_audit_log,
    tenants_with_audit_log,
)

_JOB = "retention"
_CHECK_PERIOD_SECONDS = 60.0
_RUN_PERIOD_SECONDS = 3_600.0
_LEASE_SECONDS = 120.0
_BATCH_SIZE = 500
# Webhook deliveries can be inspected and repeated for this long after they ended.
_DELIVERY_RETENTION_DAYS = 7
_INTERACTION_RETENTION_DAYS = 7
# How long `broker connections retry` can use the tokens of a connection that the bank has refused.
_REFUSED_TOKEN_RETENTION_DAYS = 7
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """How many days each kind of row is kept after its end. 0 keeps it forever."""

    sessions: int
    refreshes: int
    tombstones: int
    audit: int


class DeleteBatch(Protocol):
    """A function of `app.store.retention` that deletes one batch."""

    async def __call__(self, transaction: Transaction, *, days: int, limit: int, after: int) -> Batch:
        """Delete up to `limit` rows that are older than `days`, from after the last id of the previous batch."""
        ...


class Retention:
    """Deletes old rows once an hour."""

    def __init__(
        self,
        database: Database,
        periods: RetentionPeriods,
        *,
        lease_seconds: float = _LEASE_SECONDS,
        batch_size: int = _BATCH_SIZE,
    ) -> None:
        """The lease must be longer than a batch and the pause after it."""
        self._database = database
        self._periods = periods
        self._lease_seconds = lease_seconds
        self._batch_size = batch_size

    async def run(self) -> None:
        """Run until cancelled."""
        await run_periodically(_CHECK_PERIOD_SECONDS, self.sweep)

    async def sweep(self) -> None:
        """Delete old rows, if the job is due and no other replica runs it. Raises DatabaseUnavailable."""
        async with self._database.transaction() as transaction:
            if not await claim_job(transaction, _JOB, seconds=self._lease_seconds):
                return
        periods = self._periods
        deleted = {
            "session": await self._delete("session", periods.sessions, delete_old_sessions),
            "refresh_attempt": await self._delete("refresh_attempt", periods.refreshes, delete_old_refresh_attempts),
            "tombstone": await self._delete("tombstone", periods.tombstones, delete_old_tombstones),
            "refused_token": await self._delete("refused_token", _REFUSED_TOKEN_RETENTION_DAYS, erase_refused_tokens),
            "delivery": await self._delete("delivery", _DELIVERY_RETENTION_DAYS, delete_old_deliveries),
            "webhook": await self._delete("webhook", _DELIVERY_RETENTION_DAYS, delete_old_webhooks),
            "interaction": await self._delete("interaction", _INTERACTION_RETENTION_DAYS, delete_old_interactions),
            "audit_event": await self._shorten_audit_logs(),
        }
        async with self._database.transaction() as transaction:
            await finish_job(transaction, _JOB, next_in=_RUN_PERIOD_SECONDS)
        if any(deleted.values()):
            logger.info("old_rows_removed", **deleted)

    async def _shorten_audit_logs(self) -> int:
        if not self._periods.audit:
            return 0
        async with self._database.transaction() as transaction:
            tenants = await tenants_with_audit_log(transaction)
        total = 0
        for tenant in tenants:
            deleted = await self._delete("audit_event", self._periods.audit, partial(shorten_audit_log, tenant=tenant))
            total += deleted
            if deleted:
                async with self._database.transaction() as transaction:
                    await audit.record(transaction, "audit.shortened", tenant=tenant, events=deleted)
        return total

    async def _delete(self, kind: str, days: int, delete_batch: DeleteBatch) -> int:
        """Delete batch after batch until nothing is left, pausing after each for as long as it took."""
        total, after, has_more = 0, 0, days > 0
        while has_more:
            started = time.perf_counter()
            async with self._database.transaction() as transaction:
                batch = await delete_batch(transaction, days=days, limit=self._batch_size, after=after)
                await renew_job(transaction, _JOB, seconds=self._lease_seconds)
            REMOVED.labels(kind=kind).inc(batch.deleted)
            total, after, has_more = total + batch.deleted, batch.last_id, batch.has_more
            if has_more:
                await asyncio.sleep(time.perf_counter() - started)
        return total
