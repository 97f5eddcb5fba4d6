"""Tasks that outlive the request that began them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.errors import BrokerError
from app.observability.logs import get_logger

Result = TypeVar("Result")
logger = get_logger(__name__)


class BackgroundTasks:
    """Work that is owned by the process: a caller that goes away does not cut it short, a stop waits for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
        """Start `work`. Whoever wants its result awaits it through `asyncio.shield`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def drain(self, seconds: float) -> list[str]:
        """Let the work under way finish within `seconds`; cancel the rest and return its names."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        # Anew each time: work may begin more work.
        while self._tasks and (left_over := ends_at - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_over)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return sorted(task.get_name() for task in left)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        report_fault(task)


def report_fault(task: asyncio.Task[Any]) -> None:
    """Log what a task has ended with, where it is a fault of ours. What is reported on purpose goes to who awaits."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, BrokerError):
        logger.error("background_task_failed", task=task.get_name(), exc_info=error)
