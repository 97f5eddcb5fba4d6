"""Measures what no single event shows: how full pools and caches are, and how many connections there are.

The metrics are set every few seconds and not when they are scraped, so that the values of all workers can be added up.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping

from app.bank.bank import Bank
from app.callers.authentication import CallerAuthenticator
from app.concurrency.periodic import run_periodically
from app.core import Core
from app.observability.metrics import (
    BANK_CONNECTIONS,
    BANK_WAITING,
    CACHE_ENTRIES,
    CONNECTIONS,
    DATABASE_CONNECTIONS,
    INVALID_GRANT_STORM,
    REFRESHES,
    REVOCATIONS_WAITING,
    SESSIONS,
)
from app.refresh.tokens import AccessTokens
from app.spool.refreshes import RefreshSpool
from app.store.bank_clients import list_storms
from app.store.connections import count_connections
from app.store.enums import ConnectionStatus, RefreshCause, RefreshOutcome, SessionStatus
from app.store.postgresql.job_lease import claim_job, finish_job, latest_result
from app.store.revocations import count_revocations

_MEASURE_PERIOD_SECONDS = 5.0
_COUNT_PERIOD_SECONDS = 15.0
_COUNT_JOB = "count"
_COUNT_LEASE_SECONDS = 60.0
# Counting reads a whole index. The pause after it is a hundred times as long as the count took, so that it uses one
# percent of one processor of the database, however many rows there are.
_MIN_PAUSE_SECONDS, _PAUSE_FACTOR = 60.0, 100


class Gauges:
    """Sets the gauges of this replica, and those that count rows of the database."""

    def __init__(
        self, core: Core, bank: Bank, *, tokens: AccessTokens, authenticator: CallerAuthenticator, spool: RefreshSpool
    ) -> None:
        self._database = core.database
        self._client = bank.own_client.identity
        self._pool = bank.query_pool
        self._tokens = tokens
        self._authenticator = authenticator
        self._spool = spool
        self.is_storm = False
        """Whether refreshes were suspended by a storm of `invalid_grant` when rows were last counted."""

    async def run(self) -> None:
        """Measure and count until cancelled."""
        self.initialize_counters()
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically(_MEASURE_PERIOD_SECONDS, self.measure))
            group.create_task(run_periodically(_COUNT_PERIOD_SECONDS, self.count))

    def initialize_counters(self) -> None:
        """Set counters to 0: Prometheus sees no increase in a counter that first appears with its first event."""
        for outcome, cause in itertools.product(RefreshOutcome, RefreshCause):
            REFRESHES.labels(outcome=outcome, cause=cause)
        for status in SessionStatus:
            SESSIONS.labels(status=status)

    async def measure(self) -> None:
        """Set the gauges of this replica's pools, caches and spool."""
        DATABASE_CONNECTIONS.labels(state="in_use").set(self._database.in_use)
        DATABASE_CONNECTIONS.labels(state="idle").set(self._database.idle)
        BANK_CONNECTIONS.labels(state="in_use").set(self._pool.busy)
        BANK_CONNECTIONS.labels(state="idle").set(self._pool.idle)
        BANK_WAITING.set(self._pool.waiting)
        CACHE_ENTRIES.labels(cache="connections").set(self._tokens.cached)
        CACHE_ENTRIES.labels(cache="callers").set(self._authenticator.cached)
        self._spool.update_metric()

    async def count(self) -> None:
        """Count rows, unless a replica has done so recently, and set the gauges to the latest result."""
        started_at = time.perf_counter()
        async with self._database.transaction() as transaction:
            storms = await list_storms(transaction)
            self.is_storm = any(storm.client == self._client for storm in storms)
            INVALID_GRANT_STORM.set(self.is_storm)
            is_claimed = await claim_job(transaction, _COUNT_JOB, seconds=_COUNT_LEASE_SECONDS)
            result = None if is_claimed else await latest_result(transaction, _COUNT_JOB)
        if result is None:
            async with self._database.transaction() as transaction:
                result = {
                    "connections": await count_connections(transaction),
                    "revocations": await count_revocations(transaction),
                }
                pause = max(_MIN_PAUSE_SECONDS, (time.perf_counter() - started_at) * _PAUSE_FACTOR)
                await finish_job(transaction, _COUNT_JOB, next_in=pause, result=result)
        if result:
            _set_gauges(result["connections"], result["revocations"])


def _set_gauges(connections: Mapping[str, int], revocations: int) -> None:
    for status in ConnectionStatus:
        CONNECTIONS.labels(status=status).set(connections.get(status, 0))
    REVOCATIONS_WAITING.set(revocations)
