"""Leases on sessions: while one replica completes a login, no other one resumes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from app.concurrency.background_tasks import log_unexpected_error
from app.concurrency.backoff import with_jitter
from app.core import Core
from app.errors import BankError, ConfigurationError, DatabaseUnavailable
from app.observability.logs import get_logger
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session, change_session

Result = TypeVar("Result")
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Times in seconds: how long a lease lasts unless it is renewed, and the pause before a request is retried."""

    lease: float = 30.0
    retry_pause: float = 1.0


class SessionLease:
    """Renews the leases of the sessions that this replica works on."""

    def __init__(self, core: Core, times: LeaseTimes = LeaseTimes()) -> None:
        self.seconds = times.lease
        """How long a lease lasts."""
        self._retry_pause = times.retry_pause
        self._database = core.database
        self._clock = core.clock

    async def retry_until_expired(
        self,
        session: Session,
        deadline: float,
        work: Callable[[], Awaitable[Result]],
        retry_on: type[BankError] | tuple[type[BankError], ...],
    ) -> Result:
        """Retry `work` on errors that cannot have changed anything at the bank, until the session expires.

        `deadline` is the time of the monotonic clock at which the session expires.
        """
        async with self._renewed_lease(session):
            while True:
                try:
                    return await work()
                except retry_on as error:
                    pause = max(with_jitter(self._retry_pause), error.retry_after or 0.0)
                    if self._clock.monotonic() + pause > deadline:
                        raise
                    logger.warning("login_waits_for_bank", session_id=session.id, code=error.code)
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def _renewed_lease(self, session: Session) -> AsyncIterator[None]:
        """Renew the lease during the block, however long the bank takes."""
        renewing = asyncio.create_task(self._renew_lease(session))
        renewing.add_done_callback(log_unexpected_error)
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew_lease(self, session: Session) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            try:
                async with self._database.transaction() as transaction:
                    await change_session(transaction, session.id, lease_until=seconds_from_now(self.seconds))
            except (DatabaseUnavailable, ConfigurationError):
                logger.warning("waiting_for_database", about=session.id)
