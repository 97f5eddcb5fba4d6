"""Spans: what a request spent its time on. Nothing is recorded outside `opentelemetry_export.export_traces`.

Spans contain names, codes, counts and ids only. They never contain what a caller or the bank has sent, such as a URL, a
message or a parameter.
"""

from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import TypeAlias

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.errors import BrokerError
from app.observability.trace_context import (
    TraceContext,
    attach_trace_context,
    current_trace_context,
    detach_trace_context,
)

Attributes: TypeAlias = Mapping[str, str | int | float]


class Span:
    """A span that is not recorded. Use it in a `with` block, or call `start` and `end`."""

    __slots__ = ()
    is_recording = False

    def start(self) -> None:
        """Start, and become the current span of this task."""

    def update_name(self, name: str) -> None:
        """Change the name, once more is known about the operation."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Set attributes."""

    def set_error(self, code: str) -> None:
        """Mark the span as failed. `code` comes from a fixed set."""

    def end(self) -> None:
        """End, and make the parent the current span again."""

    def __enter__(self) -> "Span":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            # Never the message, which may quote a secret.
            self.set_error(error.code if isinstance(error, BrokerError) else type(error).__name__)
        self.end()


class _RecordedSpan(Span):
    __slots__ = ("_attributes", "_context_token", "_kind", "_name", "_span", "_trace_context_token", "_tracer")
    is_recording = True
    _span: trace.Span
    _context_token: Token[Context]
    _trace_context_token: Token[TraceContext | None]

    def __init__(self, tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._attributes = attributes

    def start(self) -> None:
        # The parent of a request's span is the caller's span; that of any other is the current span.
        parent = _caller_context() if self._kind is SpanKind.SERVER else None
        self._span = self._tracer.start_span(self._name, parent, self._kind, self._attributes)
        self._context_token = context.attach(trace.set_span_in_context(self._span))
        self._trace_context_token = attach_trace_context(_trace_context_of(self._span))

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def set_attributes(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def set_error(self, code: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        detach_trace_context(self._trace_context_token)
        context.detach(self._context_token)
        self._span.end()


UNRECORDED_SPAN = Span()
_tracer: Tracer | None = None


def replace_tracer(tracer: Tracer | None) -> Tracer | None:
    """Record the spans of this process with `tracer`, and return the previous one. None records nothing.

    The configuration is per process, like that of the logs.
    """
    global _tracer
    previous, _tracer = _tracer, tracer
    return previous


def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Span:
    """Return a span that is recorded even without a parent: an operation that makes sense on its own."""
    return UNRECORDED_SPAN if _tracer is None else _RecordedSpan(_tracer, name, kind, attributes or {})


def child_span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Span:
    """Return a span that is recorded only within a recorded span: a detail that means nothing on its own."""
    if _tracer is None or not trace.get_current_span().is_recording():
        return UNRECORDED_SPAN
    return _RecordedSpan(_tracer, name, kind, attributes or {})


def _caller_context() -> Context:
    trace_context = current_trace_context()
    headers = {name.decode(): value.decode() for name, value in trace_context.headers()} if trace_context else {}
    return TraceContextTextMapPropagator().extract(headers, context=Context())


def _trace_context_of(recorded: trace.Span) -> TraceContext:
    """Return the trace context for requests that are sent within a span (W3C Trace Context section 3.2)."""
    span_context = recorded.get_span_context()
    parent = f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}-{span_context.trace_flags:02x}"
    return TraceContext(parent.encode(), span_context.trace_state.to_header().encode() or None)
