"""Retries of work that must not be lost while the database is unavailable."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from app.concurrency.backoff import exponential_backoff
from app.errors import ConfigurationError, DatabaseUnavailable
from app.observability.logs import get_logger

_INITIAL_PAUSE, _MAX_PAUSE = 0.1, 2.0  # seconds
Result = TypeVar("Result")
Sleep: TypeAlias = Callable[[float], Awaitable[None]]
logger = get_logger(__name__)


class RetryLater(Exception):
    """Raised by work that has to wait for something other than the database."""


async def retry_until_done(
    work: Callable[[], Awaitable[Result]], *, about: str, sleep: Sleep = asyncio.sleep
) -> Result:
    """Retry `work` until it succeeds, however long the database is unavailable, and return its result.

    `work` may raise RetryLater to be called again. `about` is the id that the log lines name.
    """
    for attempt in itertools.count():
        try:
            return await work()
        except RetryLater:
            pass
        except (DatabaseUnavailable, ConfigurationError) as error:
            # A database that rejects the broker's password accepts it again once it has been changed here too.
            logger.warning("waiting_for_database", about=about, attempt=attempt, reason=error.reason or error.detail)
        await sleep(exponential_backoff(attempt, initial=_INITIAL_PAUSE, maximum=_MAX_PAUSE))
    raise AssertionError
