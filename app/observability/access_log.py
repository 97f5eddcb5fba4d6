"""Access lines: one JSON object for each request, in the form of all other lines.

There is one for every query, so they are put together here rather than by structlog, and those of one turn of the
event loop are written together: before it waits again, which is as long as a line can be lost.
"""

import asyncio
import json
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple, TextIO


class Served(NamedTuple):
    """A request that was answered, by what it shares with many others. None is what is not known."""

    method: str
    route: str
    status: int
    caller: str | None
    client: str | None
    """The address that it came from."""


class AccessLines:
    """Writes access lines to one stream."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lines: list[str] = []

    def add(self, served: Served, seconds: float, *, request_id: str | None, trace_id: str | None) -> None:
        """Write the line of a request that took `seconds`, at once or at the end of this turn of the event loop."""
        now = time.time()
        second = int(now)
        identifier = "null" if request_id is None else quoted(request_id)
        trace = "" if trace_id is None else f'"trace_id":{quoted(trace_id)},'
        self._lines.append(
            f'{{"event":"request","level":"info","timestamp":"{_to_the_second(second)}.'
            f'{int((now - second) * 1e6):06d}Z","module":"app.access","request_id":{identifier},{trace}'
            f'{_described(served)},"milliseconds":{seconds * 1000:.1f}}}\n'
        )
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._write)
            except RuntimeError:
                self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._output.write("".join(lines))
        self._output.flush()


@lru_cache(maxsize=4_096)
def _described(served: Served) -> str:
    return json.dumps(served._asdict(), separators=(",", ":"))[1:-1]


@lru_cache(maxsize=2)
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
