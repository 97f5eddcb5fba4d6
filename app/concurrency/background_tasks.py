"""Tasks that outlive the request that started them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.errors import BrokerError
from app.observability.logs import get_logger

Result = TypeVar("Result")
logger = get_logger(__name__)


class BackgroundTasks:
    """Tasks that belong to the process: a disconnected caller does not cancel them, and a shutdown waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
        """Start `work`. Await its result through `asyncio.shield`, or a cancelled caller cancels it too."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def drain(self, seconds: float) -> list[str]:
        """Wait up to `seconds` for all tasks; then cancel the others and return their names."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        # A task may start more tasks, so one wait is not enough.
        while self._tasks and (seconds_left := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=seconds_left)
        unfinished = list(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        return sorted(task.get_name() for task in unfinished)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        log_unexpected_error(task)


def log_unexpected_error(task: asyncio.Task[Any]) -> None:
    """Log the exception of a finished task, unless it is a BrokerError: those are for the caller that awaits it."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, BrokerError):
        logger.error("background_task_failed", task=task.get_name(), exc_info=error)
