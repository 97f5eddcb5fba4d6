"""Spans: what a request waited for, told to whoever traces; nothing at all unless `telemetry` has been opened.

No span carries what a caller or the bank has said: names, codes, counts and ids alone, never an address, a message or
a parameter.
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
    current_trace_context,
    exchange_trace_context,
    restore_trace_context,
)

Attributes: TypeAlias = Mapping[str, str | int | float]


class Span:
    """A span that nobody records. To be used in a `with` block, or begun and ended by hand."""

    __slots__ = ()
    is_recorded = False

    def begin(self) -> None:
        """Begin, and have what this task does from here on belong to the span."""

    def rename(self, name: str) -> None:
        """Give another name, once more is known."""

    def set(self, attributes: Attributes) -> None:
        """Set attributes."""

    def fail(self, code: str) -> None:
        """Note that it failed. `code` comes from a fixed set."""

    def end(self) -> None:
        """End, and have what follows belong to the span around."""

    def __enter__(self) -> "Span":
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            # Not its message, which may quote anything.
            self.fail(error.code if isinstance(error, BrokerError) else type(error).__name__)
        self.end()


class _RecordedSpan(Span):
    __slots__ = ("_around", "_attributes", "_kind", "_name", "_span", "_trace_around", "_tracer")
    is_recorded = True
    _span: trace.Span
    _around: Token[Context]
    _trace_around: Token[TraceContext | None]

    def __init__(self, tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._attributes = attributes

    def begin(self) -> None:
        # A request comes from its caller, all else from the span around.
        parent = _of_caller() if self._kind is SpanKind.SERVER else None
        self._span = self._tracer.start_span(self._name, parent, self._kind, self._attributes)
        self._around = context.attach(trace.set_span_in_context(self._span))
        self._trace_around = exchange_trace_context(_trace_context_of(self._span))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, code: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        restore_trace_context(self._trace_around)
        context.detach(self._around)
        self._span.end()


NOT_RECORDED = Span()
_tracer: Tracer | None = None


def exchange_tracer(tracer: Tracer | None) -> Tracer | None:
    """Have the spans of this process recorded by `tracer`, and return the one of before. None records nothing.

    Like the logs', the configuration is the process's.
    """
    global _tracer
    before, _tracer = _tracer, tracer
    return before


def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Span:
    """Return a span, to be begun."""
    return NOT_RECORDED if _tracer is None else _RecordedSpan(_tracer, name, kind, attributes or {})


def detail(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Span:
    """Return a span that tells nothing by itself, so it is recorded only where the one around is."""
    if _tracer is None or not trace.get_current_span().is_recording():
        return NOT_RECORDED
    return _RecordedSpan(_tracer, name, kind, attributes or {})


def _of_caller() -> Context:
    told = current_trace_context()
    fields = {name.decode(): value.decode() for name, value in told.fields()} if told else {}
    return TraceContextTextMapPropagator().extract(fields, context=Context())


def _trace_context_of(recorded: trace.Span) -> TraceContext:
    """Write what those who are asked meanwhile are told (W3C Trace Context section 3.2)."""
    identity = recorded.get_span_context()
    parent = f"00-{identity.trace_id:032x}-{identity.span_id:016x}-{identity.trace_flags:02x}"
    return TraceContext(parent.encode(), identity.trace_state.to_header().encode() or None)
