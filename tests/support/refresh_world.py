"""Processes on one database, run step by step by a synchronous test: the environment of a state machine."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.refresh.refresher import Refresher, Timing
from app.store.postgresql.database import Database
from app.store.refreshes import Claim
from tests.support.clock import AdjustableClock
from tests.support.core import core_of
from tests.support.flights import FlakyDatabase, Flight, SteppedSpool, stepped_pause
from tests.support.model_bank import ModelBank, model_bank
from tests.support.postgresql import opened_databases
from tests.support.rows import Rows

TIMING = Timing(deadline=5, lease=10)
KEY_RING = KeyRing({"model": bytes(range(32))})
Result = TypeVar("Result")


class Process:
    """A running replica. Only its spool remains when it ends."""

    def __init__(self, database: Database, bank: ModelBank, clock: AdjustableClock, directory: Path) -> None:
        self.spool = SteppedSpool(directory, KEY_RING)
        self.flights: list[Flight] = []
        # A claim whose call has not been made yet.
        self.idle_claim: Claim | None = None
        core, model = core_of(database, KEY_RING, clock), model_bank(bank, clock)
        self.refresher = Refresher(core, model, spool=self.spool, timing=TIMING, sleep=stepped_pause)


class World:
    """The parts that outlive an example: the event loop and the database."""

    def __init__(self, runner: asyncio.Runner, database: FlakyDatabase, rows: Rows, directory: Path) -> None:
        self._runner = runner
        self.database = database
        # Still available when the database of the processes is not.
        self.rows = rows
        self.directories = (directory / str(number) for number in itertools.count())

    def process(self, bank: ModelBank, clock: AdjustableClock, directory: Path) -> Process:
        """Start a process."""
        return Process(self.database, bank, clock, directory)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work`, and return its result."""
        return self._runner.run(work)


@asynccontextmanager
async def _opened(postgresql: SecretStr) -> AsyncIterator[tuple[FlakyDatabase, Rows]]:
    async with opened_databases(postgresql) as databases, databases.fresh() as url:
        flaky, steady = FlakyDatabase(url), Database(url, pool_size=1)
        yield flaky, Rows(steady, KEY_RING)
        await flaky.close()
        await steady.close()


@contextmanager
def opened_world(postgresql: SecretStr, directory: Path) -> Iterator[World]:
    """Yield a world with a database of its own."""
    with asyncio.Runner() as runner:
        opened = _opened(postgresql)
        database, rows = runner.run(opened.__aenter__())
        try:
            yield World(runner, database, rows, directory)
        finally:
            runner.run(opened.__aexit__(None, None, None))
