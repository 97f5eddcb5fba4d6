"""Refreshes that stop at named steps, where a test can delay, interleave or crash them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

from app.errors import BankError, BrokerError, DatabaseUnavailable
from app.spool.refreshes import RefreshSpool, UnsavedRefresh
from app.store.postgresql.database import Database, Requester, Transaction
from app.store.refreshes import Claim


class Step(StrEnum):
    """Where a flight stops."""

    CLAIMED = "the claim is committed"
    REFRESHED = "the bank has rotated the tokens"
    RECEIVED = "the response has arrived"
    SPOOLED = "the response is on disk"
    RETRYING = "the save will be retried"
    SAVED = "the response is in the database"


class Flight:
    """A refresh, or the replay of one, that stops at every step."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.at: Step | None = None
        # The refresh token that it sends, and the one that the bank has issued to it.
        self.sent_token: str | None = None
        self.issued_token: str | None = None
        self._error: BankError | None = None
        self._may_continue = asyncio.Event()
        self._stopped = asyncio.Event()
        token = _current.set(self)
        self._task = asyncio.create_task(self._run(work))
        _current.reset(token)

    @property
    def has_ended(self) -> bool:
        """True once it has succeeded or failed."""
        return self._task.done()

    async def wait_until_stopped(self) -> None:
        """Wait until it has reached a step or ended. Raises the error that ended it, unless that is a BrokerError."""
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({stopped, self._task}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def resume(self, error: BankError | None = None) -> None:
        """Continue to the next step, or fail with `error` at this one."""
        self._error, self.at = error, None
        self._stopped.clear()
        self._may_continue.set()
        await self.wait_until_stopped()

    async def crash(self) -> None:
        """End like a killed process: nothing more happens."""
        self._task.cancel()
        await asyncio.wait({self._task})
        assert self._task.cancelled(), "the cancellation was suppressed"

    async def stop(self, step: Step) -> None:
        """Wait until the test resumes it."""
        self._may_continue.clear()
        self.at = step
        self._stopped.set()
        await self._may_continue.wait()
        if self._error is not None:
            raise self._error

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BrokerError:
            return


_current: ContextVar[Flight] = ContextVar("flight")


async def reach(step: Step, *, sent_token: str | None = None, issued_token: str | None = None) -> None:
    """Stop the current flight at a step."""
    flight = _current.get()
    flight.sent_token = sent_token or flight.sent_token
    flight.issued_token = issued_token or flight.issued_token
    await flight.stop(step)


class SteppedSpool(RefreshSpool):
    """A spool on a real disk that stops before and after each of its operations."""

    async def add(self, unsaved: UnsavedRefresh) -> None:
        """Stop, write, and stop again."""
        issued_token = unsaved.new.tokens.refresh_token
        assert issued_token is not None
        sent_token = unsaved.claim.refresh_token.get_secret_value()
        await reach(Step.RECEIVED, sent_token=sent_token, issued_token=issued_token.get_secret_value())
        await super().add(unsaved)
        await reach(Step.SPOOLED)

    async def remove(self, claim: Claim) -> None:
        """Stop, and remove."""
        await reach(Step.SAVED)
        await super().remove(claim)


class FlakyDatabase(Database):
    """A real database that can be unavailable, or lose the connection after a commit."""

    is_unavailable = False
    loses_next_commit = False

    @asynccontextmanager
    async def transaction(self, requester: Requester | None = None) -> AsyncIterator[Transaction]:
        """Open a transaction. Raises DatabaseUnavailable if the test wants that."""
        if self.is_unavailable:
            raise DatabaseUnavailable("the test has made the database unavailable")
        async with super().transaction(requester) as transaction:
            yield transaction
        if self.loses_next_commit:
            self.loses_next_commit = False
            raise DatabaseUnavailable("the test has cut the connection after the commit")


async def stepped_pause(_seconds: float) -> None:
    """Replaces the pause between two attempts to save."""
    await reach(Step.RETRYING)
