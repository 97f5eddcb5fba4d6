"""The access log: one JSON object per request, in the form of all other log lines.

Every query writes a line, so lines are formatted here, which is faster than structlog. Lines of one iteration of the
event loop are written together, before the loop waits again; a crash within that time loses them.
"""

import asyncio
import json
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as json_string
from typing import NamedTuple, TextIO


class ServedRequest(NamedTuple):
    """The properties of an answered request that many requests share, so that they are formatted only once.

    Unknown values are None.
    """

    method: str
    route: str
    status: int
    caller: str | None
    client: str | None
    """The IP address of the client."""


class AccessLog:
    """Writes access lines to a stream."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lines: list[str] = []

    def write(self, request: ServedRequest, seconds: float, *, request_id: str | None, trace_id: str | None) -> None:
        """Write the line of a request that took `seconds`, at the end of this iteration of the event loop."""
        now = time.time()
        second = int(now)
        request_id_json = "null" if request_id is None else json_string(request_id)
        trace = "" if trace_id is None else f'"trace_id":{json_string(trace_id)},'
        self._lines.append(
            f'{{"event":"request","level":"info","timestamp":"{_format_second(second)}.'
            f'{int((now - second) * 1e6):06d}Z","module":"app.access","request_id":{request_id_json},{trace}'
            f'{_members(request)},"milliseconds":{seconds * 1000:.1f}}}\n'
        )
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._flush)
            except RuntimeError:
                self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._output.write("".join(lines))
        self._output.flush()


@lru_cache(maxsize=4_096)
def _members(request: ServedRequest) -> str:
    return json.dumps(request._asdict(), separators=(",", ":"))[1:-1]


@lru_cache(maxsize=2)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
