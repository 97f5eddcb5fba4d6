"""Refreshes that go on one named step at a time, so that a test can crash, delay or interleave them at each."""

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
    """Where a flight can stand still."""

    CLAIMED = "the claim is committed"
    WORKED = "the bank has done its work"
    ANSWERED = "the answer is here"
    SPOOLED = "the answer is on disk"
    WAITING = "the save is to be tried again"
    SAVED = "the answer is in the database"


class Flight:
    """A refresh, or the replay of one, that stops at every step."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.at: Step | None = None
        # The refresh token that it shows the bank, and the one that the bank gave it.
        self.presents: str | None = None
        self.brings: str | None = None
        self._fault: BankError | None = None
        self._may_go_on = asyncio.Event()
        self._stopped = asyncio.Event()
        token = _current.set(self)
        self._task = asyncio.create_task(self._fly(work))
        _current.reset(token)

    @property
    def is_over(self) -> bool:
        """True once it has ended, well or not."""
        return self._task.done()

    async def settle(self) -> None:
        """Return when it has reached a step, or its end. What it failed with, unless the broker means it, is raised."""
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({stopped, self._task}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def go_on(self, fault: BankError | None = None) -> None:
        """Pass the step, or fail there, and settle at the next."""
        self._fault, self.at = fault, None
        self._stopped.clear()
        self._may_go_on.set()
        await self.settle()

    async def crash(self) -> None:
        """End as a killed process does: nothing more happens."""
        self._task.cancel()
        await asyncio.wait({self._task})
        assert self._task.cancelled(), "somebody swallowed the end of the process"

    async def stop(self, step: Step) -> None:
        """Stand still until the test lets it go on."""
        self._may_go_on.clear()
        self.at = step
        self._stopped.set()
        await self._may_go_on.wait()
        if (fault := self._fault) is not None:
            raise fault

    async def _fly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BrokerError:
            return


_current: ContextVar[Flight] = ContextVar("flight")


async def reach(step: Step, *, presents: str | None = None, brings: str | None = None) -> None:
    """Stop the flight that this runs in."""
    flight = _current.get()
    flight.presents = presents or flight.presents
    flight.brings = brings or flight.brings
    await flight.stop(step)


class SteppedSpool(RefreshSpool):
    """A spool on a real disk, with a stop before and after each of its deeds."""

    async def add(self, unsaved: UnsavedRefresh) -> None:
        """Stop, write, stop."""
        brings = unsaved.new.tokens.refresh_token
        assert brings is not None
        presents = unsaved.claim.refresh_token.get_secret_value()
        await reach(Step.ANSWERED, presents=presents, brings=brings.get_secret_value())
        await super().add(unsaved)
        await reach(Step.SPOOLED)

    async def remove(self, claim: Claim) -> None:
        """Stop, remove."""
        await reach(Step.SAVED)
        await super().remove(claim)


class FlakyDatabase(Database):
    """A real database that can be away, or break off after the commit."""

    is_away = False
    loses_next_commit = False

    @asynccontextmanager
    async def transaction(self, requester: Requester | None = None) -> AsyncIterator[Transaction]:
        """Raises DatabaseUnavailable by the test's will."""
        if self.is_away:
            raise DatabaseUnavailable("the test has taken the database away")
        async with super().transaction(requester) as transaction:
            yield transaction
        if self.loses_next_commit:
            self.loses_next_commit = False
            raise DatabaseUnavailable("the test has cut the connection after the commit")


async def stepped_pause(_seconds: float) -> None:
    """Stands in for the pause between two tries of a save."""
    await reach(Step.WAITING)
