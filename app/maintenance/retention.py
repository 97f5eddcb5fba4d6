"""Removing what has had its time: one replica at a time, a small batch at a time, with rests in between."""

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
    remove_refresh_attempts,
    remove_sessions,
    remove_tombstones,
    shorten_audit,
    tenants_with_audit,
)

_RETENTION = "retention"
_LOOK = 60.0
_PERIOD = 3_600.0
# Longer than a batch and its rest.
_TURN = 120.0
_BATCH = 500
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """How many days each kind of row is kept after its end; 0 keeps it for ever."""

    sessions: int
    refreshes: int
    tombstones: int
    audit: int


class RemoveBatch(Protocol):
    """One of the functions of `app.store.retention`."""

    async def __call__(self, transaction: Transaction, *, days: int, limit: int, after: int) -> Batch:
        """Remove at most `limit` rows that are so many days old, after the one where the last batch ended."""
        ...


class Retention:
    """Looks once an hour for what is too old."""

    def __init__(self, database: Database, ages: RetentionPeriods) -> None:
        self._database = database
        self._ages = ages

    async def run(self) -> None:
        """Look again and again until cancelled."""
        await run_periodically(_LOOK, self.sweep)

    async def sweep(self) -> None:
        """Remove what is too old, if this replica gets the turn. Raises DatabaseUnavailable."""
        async with self._database.transaction() as transaction:
            if not await claim_job(transaction, _RETENTION, seconds=_TURN):
                return
        ages = self._ages
        removed = {
            "session": await self._remove("session", ages.sessions, remove_sessions),
            "refresh_attempt": await self._remove("refresh_attempt", ages.refreshes, remove_refresh_attempts),
            "tombstone": await self._remove("tombstone", ages.tombstones, remove_tombstones),
            "audit_event": await self._shorten_audits(),
        }
        async with self._database.transaction() as transaction:
            await finish_job(transaction, _RETENTION, next_in=_PERIOD)
        if any(removed.values()):
            logger.info("old_rows_removed", **removed)

    async def _shorten_audits(self) -> int:
        if not self._ages.audit:
            return 0
        async with self._database.transaction() as transaction:
            tenants = await tenants_with_audit(transaction)
        total = 0
        for tenant in tenants:
            removed = await self._remove("audit_event", self._ages.audit, partial(shorten_audit, tenant=tenant))
            total += removed
            if removed:
                async with self._database.transaction() as transaction:
                    await audit.record(transaction, "audit.shortened", tenant=tenant, events=removed)
        return total

    async def _remove(self, kind: str, days: int, remove: RemoveBatch) -> int:
        """Remove batch by batch until there is nothing more, resting as long as each has taken."""
        total, after, there_is_more = 0, 0, days > 0
        while there_is_more:
            began = time.perf_counter()
            async with self._database.transaction() as transaction:
                batch = await remove(transaction, days=days, limit=_BATCH, after=after)
                await renew_job(transaction, _RETENTION, seconds=_TURN)
            REMOVED.labels(kind=kind).inc(batch.removed)
            total, after, there_is_more = total + batch.removed, batch.last, batch.there_is_more
            if there_is_more:
                await asyncio.sleep(time.perf_counter() - began)
        return total
