"""What must happen without anybody asking: logins that time ran out on, revocations, notes of use."""

import asyncio
from collections.abc import Awaitable, Callable

from app.errors import BrokerError
from app.logs import get_logger
from app.metrics import SESSIONS
from app.randomness import jitter
from app.services.background import BackgroundTasks
from app.services.completion import LEASE, Completion
from app.services.confirmation import Confirmations
from app.services.revoker import Revoker
from app.services.usage import Usage
from app.store import audit
from app.store.database import Database
from app.store.moments import from_now
from app.store.sessions import Session, SessionStatus, change_session, end_session, overdue_sessions

_PERIOD = 1.0
_USAGE_PERIOD = 10.0
_PAUSE_AFTER_FAULT = 5.0
logger = get_logger(__name__)


class Housekeeping:
    """Runs on every replica; rows that one works on are skipped by the others."""

    def __init__(
        self,
        *,
        database: Database,
        completion: Completion,
        confirmations: Confirmations,
        revoker: Revoker,
        tasks: BackgroundTasks,
        usage: Usage,
    ) -> None:
        self._database = database
        self._completion = completion
        self._confirmations = confirmations
        self._revoker = revoker
        self._tasks = tasks
        self._usage = usage

    async def run(self) -> None:
        """Keep house until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(_PERIOD, self.end_overdue_sessions))
            group.create_task(self._every(_PERIOD, self._revoke))
            group.create_task(self._every(_USAGE_PERIOD, self.flush_usage))

    async def flush_usage(self) -> None:
        """Write down what was used."""
        await self._usage.flush(self._database)

    async def end_overdue_sessions(self) -> None:
        """Expire what nobody finished, and take up what a lost replica began."""
        async with self._database.transaction() as transaction:
            sessions = await overdue_sessions(transaction)
            # In the order of the tenants, as `app.store.audit_chain` asks for.
            for session in sorted(sessions, key=lambda session: session.tenant):
                if session.status is SessionStatus.EXCHANGING:
                    await change_session(transaction, session.id, lease_until=from_now(LEASE))
                elif session.status is SessionStatus.EXPIRED:
                    await end_session(transaction, session.id, SessionStatus.EXPIRED)
                    SESSIONS.labels(status=SessionStatus.EXPIRED).inc()
                    await audit.record(
                        transaction,
                        tenant=session.tenant,
                        actor=audit.BROKER,
                        action="session.expired",
                        session_id=session.id,
                    )
        for session in sessions:
            await self._take_up(session)

    async def _take_up(self, session: Session) -> None:
        if session.status is SessionStatus.EXCHANGING:
            logger.warning("login_taken_up", session_id=session.id)
            self._tasks.spawn(self._completion.resume(session), f"login {session.id}")
        elif session.status is SessionStatus.AWAITING_CONFIRMATION:
            await self._confirmations.withdraw(session)

    async def _revoke(self) -> None:
        while await self._revoker.revoke_due():
            pass

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            pause = seconds
            try:
                await work()
            except BrokerError as error:
                logger.warning("housekeeping_paused", work=work.__name__, code=error.code)
                pause = _PAUSE_AFTER_FAULT
            except Exception:
                logger.exception("housekeeping_failed", work=work.__name__)
                pause = _PAUSE_AFTER_FAULT
            await asyncio.sleep(jitter(pause))
