"""What the broker logs, down to the last detail."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict

from app.observability.logs import configure_logs
from tests.support.eventually import eventually

_KEEPER: ContextVar[object] = ContextVar("keeper", default=None)


class Logs:
    """Everything that this process has logged."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """The log as it would be in a file."""
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line, read."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    async def requests(self, count: int) -> list[dict[str, Any]]:
        """Return the access lines once there are so many: they are written just after the answers."""

        async def all_are_there() -> bool:
            return len(self.of("request")) >= count

        await eventually(all_are_there)
        return self.of("request")


@contextmanager
def captured_logs(level: str = "debug") -> Iterator[Logs]:
    """Have this process log as a broker does, to memory, for as long as the block."""
    root = logging.getLogger()
    before = structlog.get_config(), list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(level, "json", stream)
    try:
        yield Logs(stream)
    finally:
        structlog.configure(**before[0])
        root.handlers = before[1]
        root.setLevel(before[2])


@contextmanager
def logged_here() -> Iterator[list[EventDict]]:
    """Keep what the block and the tasks that it begins log: brokers that tests share go on logging meanwhile."""
    keeper = object()

    def only_here(_logger: object, _method: str, line: EventDict) -> EventDict:
        if _KEEPER.get() is not keeper:
            raise structlog.DropEvent
        return line

    before = _KEEPER.set(keeper)
    try:
        with structlog.testing.capture_logs(processors=[only_here]) as lines:
            yield lines
    finally:
        _KEEPER.reset(before)
