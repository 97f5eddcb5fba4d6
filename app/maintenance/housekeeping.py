"""Periodic work: ends overdue logins, sends due revocations, and writes what was used when."""

import asyncio

from app.concurrency.periodic import run_periodically
from app.connections.revocation_worker import RevocationWorker
from app.core import Core
from app.errors import DatabaseUnavailable
from app.login.build import LoginServices
from app.login.session_lease import LEASE
from app.observability.logs import get_logger
from app.observability.metrics import OUTBOX_AGE_SECONDS, OUTBOX_EVENTS
from app.store import audit
from app.store.deliveries import delete_deliveries_of_deleted_webhooks, measure_outbox
from app.store.enums import SessionStatus
from app.store.last_used import LastUsedTimes
from app.store.overdue_sessions import find_expired_logins, lock_expired_logins, lock_overdue_grants
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session, end_session

_PERIOD_SECONDS = 1.0
_LAST_USED_PERIOD_SECONDS = 10.0
_OUTBOX_PERIOD_SECONDS = 15.0
_SESSIONS_PER_TRANSACTION = 100
# A round expires only this many logins of each tenant, so that no tenant delays the others.
_EXPIRED_PER_TENANT = 200
_DELIVERIES_PER_TRANSACTION = 1_000
logger = get_logger(__name__)


class Housekeeping:
    """Runs on every replica. Rows that one replica works on are skipped by the others."""

    def __init__(self, core: Core, *, login: LoginServices, revoker: RevocationWorker, usage: LastUsedTimes) -> None:
        self._database = core.database
        self._tasks = core.tasks
        self._completion = login.callback
        self._confirmations = login.confirmation
        self._revoker = revoker
        self._usage = usage

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically(_PERIOD_SECONDS, self.resume_overdue_logins))
            group.create_task(run_periodically(_PERIOD_SECONDS, self.expire_logins))
            group.create_task(run_periodically(_PERIOD_SECONDS, self._revoke))
            group.create_task(run_periodically(_LAST_USED_PERIOD_SECONDS, self.flush_last_used))
            group.create_task(run_periodically(_OUTBOX_PERIOD_SECONDS, self.tend_outbox))

    async def flush_last_used(self) -> None:
        """Write which connections and API keys were used."""
        await self._usage.flush(self._database)

    async def tend_outbox(self) -> None:
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
        """Resume the logins of lost replicas, and withdraw links that were not confirmed in time."""
        while await self._resume_batch() == _SESSIONS_PER_TRANSACTION:
            pass

    async def _resume_batch(self) -> int:
        async with self._database.transaction() as transaction:
            sessions = await lock_overdue_grants(transaction, limit=_SESSIONS_PER_TRANSACTION)
            for session in sessions:
                if session.status is SessionStatus.EXCHANGING:
                    await change_session(transaction, session.id, lease_until=seconds_from_now(LEASE))
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
        """End pending logins whose time is over."""
        async with self._database.transaction() as transaction:
            session_ids = await find_expired_logins(transaction, of_each_tenant=_EXPIRED_PER_TENANT)
        for start in range(0, len(session_ids), _SESSIONS_PER_TRANSACTION):
            await self._expire(session_ids[start : start + _SESSIONS_PER_TRANSACTION])

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
            self._tasks.spawn(self._completion.resume(session), f"login {session.id}")
        else:
            await self._confirmations.expire(session)

    async def _revoke(self) -> None:
        while await self._revoker.revoke_due():
            pass
