"""The trace that a request belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context-1/).

A caller's trace context is sent on to the bank, and its trace id is in the log lines of the request. If spans are
recorded, `tracing` replaces the caller's span by the broker's current one.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass

# Section 3.2.2: version, trace-id, parent-id, trace-flags; later versions may add more after another dash.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?"
)
# Section 3.3.1: at most 32 members of printable characters. Section 3.3.1.5: 512 characters must be propagated.
_TRACESTATE = re.compile(rb"[\x20-\x7e\t]{1,512}")
_MAX_TRACESTATE_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The values of the two trace headers."""

    traceparent: bytes
    tracestate: bytes | None = None

    @property
    def trace_id(self) -> str:
        """The 32 hexadecimal digits that all spans of the trace share."""
        return self.traceparent[3:35].decode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers to send with a request."""
        headers = [(b"traceparent", self.traceparent)]
        if self.tracestate is not None:
            headers.append((b"tracestate", self.tracestate))
        return headers


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def parse_trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace context in request headers, whose names must be in lower case.

    Returns None if `traceparent` is missing, malformed or repeated; `tracestate` has no meaning without it.
    """
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1 or not _is_traceparent(parents[0]):
        return None
    state = b",".join(states)
    is_usable = _TRACESTATE.fullmatch(state) and state.count(b",") < _MAX_TRACESTATE_MEMBERS
    return TraceContext(parents[0], state if is_usable else None)


def set_trace_context(context: TraceContext | None) -> None:
    """Set the trace context of this request and of the tasks that it starts."""
    _current.set(context)


def attach_trace_context(context: TraceContext) -> Token[TraceContext | None]:
    """Set the trace context until `detach_trace_context` is called with the returned token."""
    return _current.set(context)


def detach_trace_context(token: Token[TraceContext | None]) -> None:
    """Restore the trace context from before `attach_trace_context`."""
    _current.reset(token)


def current_trace_context() -> TraceContext | None:
    """Return the current trace context, if the caller sent one or spans are recorded."""
    return _current.get()


def _is_traceparent(value: bytes) -> bool:
    match = _TRACEPARENT.fullmatch(value)
    # Version 00 allows nothing after the flags.
    return match is not None and (match[1] != b"00" or match[3] is None)
