"""Working on a login: as long as its time lasts, and with a lease, so that no other replica takes it up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from app.concurrency.background_tasks import log_unexpected_error
from app.concurrency.backoff import with_jitter
from app.core import Core
from app.errors import BankError, ConfigurationError, DatabaseUnavailable
from app.observability.logs import get_logger
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session

# A replica that works on a login says so at least this often; after it, another one takes over. Seconds.
LEASE = 30.0
_RETRY = 1.0
Result = TypeVar("Result")
logger = get_logger(__name__)


class SessionLease:
    """Keeps the leases of the logins that this replica works on."""

    def __init__(self, core: Core) -> None:
        self._database = core.database
        self._clock = core.clock

    async def while_time_is_left(
        self,
        session: Session,
        until: float,
        work: Callable[[], Awaitable[Result]],
        repeat_on: type[BankError] | tuple[type[BankError], ...],
    ) -> Result:
        """Repeat `work` on errors that cannot have changed anything at the bank, `until` the login's time is over."""
        async with self._at_work(session):
            while True:
                try:
                    return await work()
                except repeat_on as error:
                    pause = max(with_jitter(_RETRY), error.retry_after or 0.0)
                    if self._clock.monotonic() + pause > until:
                        raise
                    logger.warning("login_waits_for_bank", session_id=session.id, code=error.code)
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def _at_work(self, session: Session) -> AsyncIterator[None]:
        """Keep the lease for as long as the block, however long the bank takes or wants to be left alone."""
        keeping = asyncio.create_task(self._keep_lease(session))
        keeping.add_done_callback(log_unexpected_error)
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep_lease(self, session: Session) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                async with self._database.transaction() as transaction:
                    await change_session(transaction, session.id, lease_until=seconds_from_now(LEASE))
            except (DatabaseUnavailable, ConfigurationError):
                logger.warning("waiting_for_database", about=session.id)
