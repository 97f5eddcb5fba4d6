"""What must happen without anybody asking: logins that time ran out on, revocations, notes of use."""

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
from app.store.deliveries import measure_outbox, remove_old_deliveries
from app.store.enums import SessionStatus
from app.store.interactions import remove_old_interactions
from app.store.last_used import LastUsedTimes
from app.store.overdue_sessions import find_lapsed_logins, lock_lapsed_logins, lock_overdue_grants
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session, end_session

_PERIOD = 1.0
_USAGE_PERIOD = 10.0
# So many logins are ended in one transaction, and of each tenant in one round: then it is the next one's turn.
_AT_ONCE, _OF_EACH_TENANT = 100, 200
_OUTBOX_PERIOD = 15.0
# For how long deliveries can be looked at and repeated after their end. Seconds.
_DELIVERIES_KEPT = 7 * 86_400.0
_INTERACTIONS_PERIOD, _INTERACTIONS_KEPT = 3_600.0, 7 * 86_400.0
logger = get_logger(__name__)


class Housekeeping:
    """Runs on every replica; rows that one works on are skipped by the others."""

    def __init__(self, core: Core, *, login: LoginServices, revoker: RevocationWorker, usage: LastUsedTimes) -> None:
        self._database = core.database
        self._tasks = core.tasks
        self._completion = login.callback
        self._confirmations = login.confirmation
        self._revoker = revoker
        self._usage = usage

    async def run(self) -> None:
        """Keep house until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically(_PERIOD, self.take_up_grants))
            group.create_task(run_periodically(_PERIOD, self.expire_logins))
            group.create_task(run_periodically(_PERIOD, self._revoke))
            group.create_task(run_periodically(_USAGE_PERIOD, self.flush_usage))
            group.create_task(run_periodically(_OUTBOX_PERIOD, self.keep_outbox))
            group.create_task(run_periodically(_INTERACTIONS_PERIOD, self.forget_interactions))

    async def flush_usage(self) -> None:
        """Write down what was used."""
        await self._usage.flush(self._database)

    async def keep_outbox(self) -> None:
        """Remove deliveries of long ago, and measure what waits."""
        removed = 1
        while removed:
            async with self._database.transaction() as transaction:
                removed = await remove_old_deliveries(transaction, kept_for=_DELIVERIES_KEPT)
        async with self._database.transaction() as transaction:
            count, age = await measure_outbox(transaction)
        OUTBOX_EVENTS.set(count)
        OUTBOX_AGE_SECONDS.set(age)

    async def forget_interactions(self) -> None:
        """Remove interactions of long ago."""
        async with self._database.transaction() as transaction:
            await remove_old_interactions(transaction, kept_for=_INTERACTIONS_KEPT)

    async def take_up_grants(self) -> None:
        """Go on with what a lost replica began, and withdraw what was not confirmed."""
        while await self._take_up_some() == _AT_ONCE:
            pass

    async def _take_up_some(self) -> int:
        async with self._database.transaction() as transaction:
            sessions = await lock_overdue_grants(transaction, limit=_AT_ONCE)
            for session in sessions:
                if session.status is SessionStatus.EXCHANGING:
                    await change_session(transaction, session.id, lease_until=seconds_from_now(LEASE))
        for session in sessions:
            try:
                await self._take_up(session)
            except DatabaseUnavailable:
                raise
            except Exception:
                # It must not keep the others, which were locked with it, from being taken up.
                logger.exception("login_crashed", session_id=session.id)
        return len(sessions)

    async def expire_logins(self) -> None:
        """Expire what nobody finished."""
        async with self._database.transaction() as transaction:
            session_ids = await find_lapsed_logins(transaction, of_each_tenant=_OF_EACH_TENANT)
        for begin in range(0, len(session_ids), _AT_ONCE):
            await self._expire(session_ids[begin : begin + _AT_ONCE])

    async def _expire(self, session_ids: list[str]) -> None:
        async with self._database.transaction() as transaction:
            sessions = await lock_lapsed_logins(transaction, session_ids)
            # In the order of the tenants, as `app.store.audit_chain` asks for.
            for session in sorted(sessions, key=lambda session: session.tenant):
                await end_session(transaction, session.id, SessionStatus.EXPIRED)
                await audit.record(transaction, "session.expired", of=session)

    async def _take_up(self, session: Session) -> None:
        if session.status is SessionStatus.EXCHANGING:
            logger.warning("login_taken_up", session_id=session.id)
            self._tasks.spawn(self._completion.resume(session), f"login {session.id}")
        else:
            await self._confirmations.withdraw(session)

    async def _revoke(self) -> None:
        while await self._revoker.revoke_due():
            pass
