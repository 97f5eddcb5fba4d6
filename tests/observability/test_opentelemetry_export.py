"""Traces are exported if OpenTelemetry's variables say so, and a wrong configuration never stops the broker."""

import asyncio
import subprocess
import sys
import time

import pytest
from opentelemetry.trace import SpanKind

from app.observability.opentelemetry_export import export_traces
from app.observability.trace_context import TraceContext, current_trace_context, set_trace_context
from app.observability.tracing import child_span, span
from tests.support.collector import Collector, run_collector
from tests.support.hostile import HANG, hostile_server
from tests.support.logs import capture_log_events, capture_logs


async def is_recording(environment: dict[str, str]) -> bool:
    async with export_traces(environment):
        return span("anything").is_recording


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "broker"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
async def test_nothing_is_recorded_unless_it_is_configured(environment: dict[str, str]) -> None:
    with capture_log_events() as logs:
        assert not await is_recording(environment)
    assert "traces_not_exported" not in [line["event"] for line in logs]


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
async def test_an_unsupported_exporter_is_logged_and_the_broker_continues(
    environment: dict[str, str], reason: str
) -> None:
    with capture_log_events() as logs:
        assert not await is_recording(environment)
    [line] = [line for line in logs if line["event"] == "traces_not_exported"]
    assert reason in line["reason"]


async def test_a_variable_that_the_library_refuses_does_not_stop_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")
    with capture_log_events() as logs:
        assert not await is_recording({"OTEL_TRACES_EXPORTER": "otlp"})
    assert [line["reason"] for line in logs if line["event"] == "traces_not_exported"] == [
        "ValueError while reading the OTEL_ variables"
    ]


def export_to(running: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (running.environment | {"OTEL_BSP_SCHEDULE_DELAY": "60000"}).items():
        monkeypatch.setenv(name, value)


async def test_the_last_spans_are_exported_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_collector() as running:
        export_to(running, monkeypatch)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "bank-links")
        async with export_traces(running.environment):
            with span("outer"), child_span("inner"):
                pass
            with pytest.raises(KeyError), span("failed"):
                raise KeyError("a secret")
            assert not child_span("without a parent").is_recording
        assert not span("later").is_recording
        assert b"a secret" not in b"".join(running.bodies)
        inner, outer, failed = running.spans
    assert (inner.name, inner.parent_id, inner.trace_id) == ("inner", outer.id, outer.trace_id)
    assert (failed.failed, failed.attributes) == (True, {"error.type": "KeyError"})
    assert failed.trace_id != outer.trace_id
    assert outer.resource["service.name"] == "bank-links"


async def test_tasks_belong_to_the_span_that_they_were_started_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_collector() as running:
        export_to(running, monkeypatch)
        async with export_traces(running.environment):

            async def work() -> bytes:
                with child_span("inner"):
                    context = current_trace_context()
                    assert context is not None
                    return context.traceparent

            with span("outer"):
                traceparent = await asyncio.create_task(work())
            assert current_trace_context() is None
        inner, outer = running.spans
    assert inner.parent_id == outer.id
    assert traceparent.decode().startswith(f"00-{outer.trace_id}-{inner.id}-0")


@pytest.mark.parametrize("exists", [True, False])
async def test_a_collector_that_does_not_answer_does_not_delay_the_shutdown(
    monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    async with hostile_server() as server:
        server.replies["/v1/traces"] = HANG
        url = server.url if exists else "http://127.0.0.1:9"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        async with export_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": url}):
            with span("lost"):
                pass
            started_at = time.monotonic()
        assert time.monotonic() - started_at < 10


def test_the_exporter_is_not_loaded_if_traces_are_off() -> None:
    code = (
        "import asyncio, sys, app.main\n"
        "from app.observability.opentelemetry_export import export_traces\n"
        "async def main():\n"
        "    async with export_traces({}):\n"
        "        loaded = [name.split('.')[1] for name in sys.modules if name.startswith('opentelemetry.')]\n"
        "        print({'sdk', 'exporter'} & {*loaded})\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


async def test_the_tracestate_of_callers_is_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_collector() as running:
        export_to(running, monkeypatch)
        with capture_logs() as logs:
            set_trace_context(TraceContext(f"00-{'ab' * 16}-{'cd' * 8}-01".encode(), b"A=FORGED: login_ended"))
            async with export_traces(running.environment):
                with span("request", SpanKind.SERVER):
                    pass
            set_trace_context(None)
        assert "FORGED" not in logs.text
