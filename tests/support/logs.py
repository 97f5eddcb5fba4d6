"""Captures what the broker logs."""

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

_CAPTURE: ContextVar[object] = ContextVar("capture", default=None)


class Logs:
    """All log lines of this process."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """The log as it would be written to a file."""
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line, parsed."""
        return [json.loads(line) for line in self.text.splitlines()]

    def with_event(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    async def access_lines(self, count: int) -> list[dict[str, Any]]:
        """Wait for `count` access lines, which are written just after the responses, and return them."""

        async def are_written() -> bool:
            return len(self.with_event("request")) >= count

        await eventually(are_written)
        return self.with_event("request")


@contextmanager
def capture_logs(level: str = "debug") -> Iterator[Logs]:
    """Configure the logs of this process like those of a broker, and write them to memory within the block."""
    root = logging.getLogger()
    previous = structlog.get_config(), list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(level, "json", stream)
    try:
        yield Logs(stream)
    finally:
        structlog.configure(**previous[0])
        root.handlers = previous[1]
        root.setLevel(previous[2])


@contextmanager
def capture_log_events() -> Iterator[list[EventDict]]:
    """Yield the events that the block and its tasks log, without those of brokers that several tests share."""
    capture = object()

    def only_here(_logger: object, _method: str, line: EventDict) -> EventDict:
        if _CAPTURE.get() is not capture:
            raise structlog.DropEvent
        return line

    token = _CAPTURE.set(capture)
    try:
        with structlog.testing.capture_logs(processors=[only_here]) as lines:
            yield lines
    finally:
        _CAPTURE.reset(token)
