"""Which trace a request belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context-1/).

A caller's trace goes on to the bank, and into the log lines of the request. Where spans are recorded, `tracing` puts
the one that is under way in the caller's place.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass

# Section 3.2.2: version, trace-id, parent-id, trace-flags; a later version may have more after another dash.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?"
)
# Section 3.3.1: at most 32 members, keys and values of printable characters. Section 3.3.1.5: 512 must be passed on.
_TRACESTATE = re.compile(rb"[\x20-\x7e\t]{1,512}")
_MOST_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace, as both headers have it."""

    traceparent: bytes
    tracestate: bytes | None = None

    @property
    def trace_id(self) -> str:
        """The 32 hexadecimal digits that all spans of the trace share."""
        return self.traceparent[3:35].decode()

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields that tell the next one."""
        fields = [(b"traceparent", self.traceparent)]
        if self.tracestate is not None:
            fields.append((b"tracestate", self.tracestate))
        return fields


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def read_trace_context(fields: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace that header fields with names in lower case tell of.

    None where `traceparent` is missing, malformed or given twice: then `tracestate` means nothing either.
    """
    parents, states = [], []
    for name, value in fields:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1 or not _is_traceparent(parents[0]):
        return None
    state = b",".join(states)
    is_usable = _TRACESTATE.fullmatch(state) and state.count(b",") < _MOST_MEMBERS
    return TraceContext(parents[0], state if is_usable else None)


def set_trace_context(context: TraceContext | None) -> None:
    """Have what this request, and the tasks that it begins, send and log belong to this trace, or to none."""
    _current.set(context)


def exchange_trace_context(context: TraceContext) -> Token[TraceContext | None]:
    """Do the same until `restore_trace_context`."""
    return _current.set(context)


def restore_trace_context(before: Token[TraceContext | None]) -> None:
    """Have what follows belong to the trace of before `exchange_trace_context`."""
    _current.reset(before)


def current_trace_context() -> TraceContext | None:
    """Return the trace that is being served, if its caller named one or spans are recorded."""
    return _current.get()


def _is_traceparent(value: bytes) -> bool:
    match = _TRACEPARENT.fullmatch(value)
    # The first version has nothing after the flags.
    return match is not None and (match[1] != b"00" or match[3] is None)
