"""W3C Trace Context: only well-formed headers are accepted, and they are passed on unchanged."""

import pytest

from app.observability.trace_context import TraceContext, parse_trace_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


def test_a_trace_context_is_passed_on_unchanged() -> None:
    context = parse_trace_context([(b"accept", b"*/*"), (b"traceparent", PARENT), (b"tracestate", b"a=1,b=2")])
    assert context == TraceContext(PARENT, b"a=1,b=2")
    assert context.trace_id == TRACE
    assert context.headers() == [(b"traceparent", PARENT), (b"tracestate", b"a=1,b=2")]


def test_a_trace_context_needs_no_tracestate() -> None:
    context = parse_trace_context([(b"traceparent", PARENT)])
    assert context is not None
    assert context.headers() == [(b"traceparent", PARENT)]


def test_several_tracestate_headers_are_joined() -> None:
    context = parse_trace_context([(b"tracestate", b"a=1"), (b"traceparent", PARENT), (b"tracestate", b"b=2")])
    assert context is not None
    assert context.tracestate == b"a=1,b=2"


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"00-{TRACE}-b7ad6b7169203331-01\n",
        f"01-{TRACE}-b7ad6b7169203331-01more",
    ],
)
def test_a_malformed_traceparent_is_ignored(value: str) -> None:
    assert parse_trace_context([(b"traceparent", value.encode()), (b"tracestate", b"a=1")]) is None


def test_a_later_version_may_add_fields() -> None:
    later = f"01-{TRACE}-b7ad6b7169203331-01-more".encode()
    assert parse_trace_context([(b"traceparent", later)]) == TraceContext(later)


def test_two_traceparents_are_ignored() -> None:
    assert parse_trace_context([(b"traceparent", PARENT), (b"traceparent", PARENT)]) is None


def test_a_tracestate_without_a_traceparent_is_ignored() -> None:
    assert parse_trace_context([(b"tracestate", b"a=1")]) is None


@pytest.mark.parametrize(
    "state", [b"", b"a=\x01", "a=é".encode(), b"a=" + b"1" * 511, b",".join(b"k%d=1" % n for n in range(33))]
)
def test_a_tracestate_that_cannot_be_passed_on_is_left_out(state: bytes) -> None:
    assert parse_trace_context([(b"traceparent", PARENT), (b"tracestate", state)]) == TraceContext(PARENT)
