"""Repeating a transaction until it has gone through, for what must not be lost to a database that is away."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.base.randomness import back_off
from app.errors import ConfigurationError, DatabaseUnavailable
from app.observability.logs import get_logger

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
Result = TypeVar("Result")
logger = get_logger(__name__)


async def insist(work: Callable[[], Awaitable[Result | None]], about: str) -> Result:
    """Repeat `work` until it returns something, through any outage. `about` names a row for the log."""
    for attempt in itertools.count():
        try:
            result = await work()
        except (DatabaseUnavailable, ConfigurationError) as error:
            # One that refuses the broker's account will take it again, when its password has been changed here too.
            logger.warning("waiting_for_database", about=about, attempt=attempt, reason=error.reason or error.detail)
        else:
            if result is not None:
                return result
        await asyncio.sleep(back_off(attempt, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE))
    raise AssertionError
