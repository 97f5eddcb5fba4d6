"""What the broker logs, down to the last detail."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from app.logs import configure_logs


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
