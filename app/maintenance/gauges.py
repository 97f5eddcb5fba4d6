"""What the metrics tell that no event counts: how full things are, and how many connections there are.

Written down every few seconds rather than when somebody asks, so that several workers can be added up.
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
    REFRESHES,
    REVOCATIONS_WAITING,
    SESSIONS,
)
from app.refresh.tokens import AccessTokens
from app.spool.refreshes import RefreshSpool
from app.store.connections import count_connections
from app.store.enums import ConnectionStatus, RefreshCause, RefreshOutcome, SessionStatus
from app.store.postgresql.job_lease import claim_job, finish_job, latest_result
from app.store.revocations import count_revocations

_PERIOD = 5.0
_COUNT_PERIOD = 15.0
_COUNT = "count"
_LONGEST_COUNT = 60.0
# Counting reads a whole index. It rests for a hundred times as long as it took, so it is one part in a hundred of
# what one of the database's processors does, however much there is to count.
_SHORTEST_REST, _REST = 60.0, 100


class Gauges:
    """Measures this replica, and the database for all of them."""

    def __init__(
        self, core: Core, bank: Bank, *, tokens: AccessTokens, authenticator: CallerAuthenticator, spool: RefreshSpool
    ) -> None:
        self._database = core.database
        self._pool = bank.query_pool
        self._tokens = tokens
        self._authenticator = authenticator
        self._spool = spool

    async def run(self) -> None:
        """Measure and count until cancelled."""
        self.begin_at_zero()
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically(_PERIOD, self.measure))
            group.create_task(run_periodically(_COUNT_PERIOD, self.count))

    def begin_at_zero(self) -> None:
        """Show what has not happened yet: in a counter that begins with an event Prometheus sees no increase."""
        for outcome, cause in itertools.product(RefreshOutcome, RefreshCause):
            REFRESHES.labels(outcome=outcome, cause=cause)
        for status in SessionStatus:
            SESSIONS.labels(status=status)

    async def measure(self) -> None:
        """Write down how full everything of this replica is."""
        DATABASE_CONNECTIONS.labels(state="in_use").set(self._database.in_use)
        DATABASE_CONNECTIONS.labels(state="idle").set(self._database.idle)
        BANK_CONNECTIONS.labels(state="in_use").set(self._pool.busy)
        BANK_CONNECTIONS.labels(state="idle").set(self._pool.idle)
        BANK_WAITING.set(self._pool.waiting)
        CACHE_ENTRIES.labels(cache="connections").set(self._tokens.cached)
        CACHE_ENTRIES.labels(cache="callers").set(self._authenticator.remembered)
        self._spool.update_metric()

    async def count(self) -> None:
        """Count what is in the database where no other replica has done so of late, and tell the latest count."""
        began = time.perf_counter()
        async with self._database.transaction() as transaction:
            mine = await claim_job(transaction, _COUNT, seconds=_LONGEST_COUNT)
            counted = None if mine else await latest_result(transaction, _COUNT)
        if counted is None:
            async with self._database.transaction() as transaction:
                counted = {
                    "connections": await count_connections(transaction),
                    "revocations": await count_revocations(transaction),
                }
                rest = max(_SHORTEST_REST, (time.perf_counter() - began) * _REST)
                await finish_job(transaction, _COUNT, next_in=rest, result=counted)
        if counted:
            _tell(counted["connections"], counted["revocations"])


def _tell(connections: Mapping[str, int], revocations: int) -> None:
    for status in ConnectionStatus:
        CONNECTIONS.labels(status=status).set(connections.get(status, 0))
    REVOCATIONS_WAITING.set(revocations)
