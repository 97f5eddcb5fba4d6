"""Ends overdue logins, sends due revocations, and records when connections and API keys were last used."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.concurrency.periodic import run_periodically
from app.connections.revocation_worker import RevocationWorker
from app.core import Core
from app.errors import DatabaseUnavailable
from app.login.build import LoginServices
from app.observability.logs import get_logger
from app.observability.metrics import OUTBOX_AGE_SECONDS, OUTBOX_EVENTS
from app.store import audit
from app.store.deliveries import delete_deliveries_of_deleted_webhooks, measure_outbox
from app.store.enums import SessionStatus
from app.store.last_used import LastUsedTimes
from app.store.overdue_sessions import find_expired_logins, lock_expired_logins, lock_overdue_grants
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session, end_session

_SESSIONS_PER_TRANSACTION = 100
# One run expires at most this many logins of each tenant, so that no tenant delays the others.
_EXPIRED_PER_TENANT = 200
_DELIVERIES_PER_TRANSACTION = 1_000
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HousekeepingPeriods:
    """How often each kind of work is done, and the pause after an error, in seconds."""

    sessions: float = 1.0
    revocations: float = 1.0
    last_used: float = 10.0
    outbox: float = 15.0
    after_error: float = 5.0


class Housekeeping:
    """Runs on every replica. Rows that one replica works on are skipped by the others."""

    def __init__(
        self,
        core: Core,
        *,
        login: LoginServices,
        revocation_worker: RevocationWorker,
        last_used: LastUsedTimes,
        periods: HousekeepingPeriods = HousekeepingPeriods(),
        sessions_per_transaction: int = _SESSIONS_PER_TRANSACTION,
    ) -> None:
        self._database = core.database
        self._tasks = core.tasks
        self._client = login.account_linker.client
        self._login = login
        self._revocation_worker = revocation_worker
        self._last_used = last_used
        self._periods = periods
        self._sessions_per_transaction = sessions_per_transaction

    async def run(self) -> None:
        """Run until cancelled."""
        periods = self._periods
        all_work: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (periods.sessions, self.resume_overdue_logins),
            (periods.sessions, self.expire_logins),
            (periods.revocations, self._revoke),
            (periods.last_used, self.flush_last_used),
            (periods.outbox, self.clean_up_outbox),
        ]
        async with asyncio.TaskGroup() as group:
            for period, work in all_work:
                group.create_task(run_periodically(period, work, pause_after_error=periods.after_error))

    async def flush_last_used(self) -> None:
        """Write the times at which connections and API keys were last used."""
        await self._last_used.flush(self._database)

    async def clean_up_outbox(self) -> None:
        """Delete the deliveries of deleted webhooks, and measure the waiting ones."""
        deleted = 1
        while deleted:
            async with self._database.transaction() as transaction:
                deleted = await delete_deliveries_of_deleted_webhooks(transaction, limit=_DELIVERIES_PER_TRANSACTION)
        async with self._database.transaction() as transaction:
            count, age = await measure_outbox(transaction)
        OUTBOX_EVENTS.set(count)
        OUTBOX_AGE_SECONDS.set(age)

    async def resume_overdue_logins(self) -> None:
        """Resume the logins of lost replicas, and expire links that were not confirmed in time."""
        while await self._resume_batch() == self._sessions_per_transaction:
            pass

    async def _resume_batch(self) -> int:
        lease = self._login.lease.seconds
        async with self._database.transaction() as transaction:
            sessions = await lock_overdue_grants(transaction, client=self._client, limit=self._sessions_per_transaction)
            for session in sessions:
                if session.status is SessionStatus.EXCHANGING:
                    await change_session(transaction, session.id, lease_until=seconds_from_now(lease))
        for session in sessions:
            try:
                await self._resume(session)
            except DatabaseUnavailable:
                raise
            except Exception:
                # One crash must not keep the other logins of the batch from being resumed.
                logger.exception("login_crashed", session_id=session.id)
        return len(sessions)

    async def expire_logins(self) -> None:
        """End pending logins that have expired."""
        async with self._database.transaction() as transaction:
            session_ids = await find_expired_logins(transaction, of_each_tenant=_EXPIRED_PER_TENANT)
        for start in range(0, len(session_ids), self._sessions_per_transaction):
            await self._expire(session_ids[start : start + self._sessions_per_transaction])

    async def _expire(self, session_ids: list[str]) -> None:
        async with self._database.transaction() as transaction:
            sessions = await lock_expired_logins(transaction, session_ids)
            # Ordered by tenant, as `app.store.audit_chain` requires.
            for session in sorted(sessions, key=lambda session: session.tenant):
                await end_session(transaction, session.id, SessionStatus.EXPIRED)
                await audit.record(transaction, "session.expired", of=session)

    async def _resume(self, session: Session) -> None:
        if session.status is SessionStatus.EXCHANGING:
            logger.warning("login_resumed", session_id=session.id)
            self._tasks.spawn(self._login.callback.resume(session), f"login {session.id}")
        else:
            await self._login.confirmation.expire(session)

    async def _revoke(self) -> None:
        while await self._revocation_worker.revoke_due():
            pass
