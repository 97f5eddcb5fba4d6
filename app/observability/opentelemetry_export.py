"""OpenTelemetry, as its own variables ask for it: https://opentelemetry.io/docs/languages/sdk-configuration/.

Off unless `OTEL_TRACES_EXPORTER` or an address of a collector is set. The variables are the library's, which reads
most of them by itself; those that turn it on are read here.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from app.base.randomness import new_id
from app.observability.logs import get_logger
from app.observability.tracing import exchange_tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_NAME = "stitch-token-broker"
_PROTOCOL = "http/protobuf"
# What has not reached the collector when the process ends may take so many seconds to do so.
_LONGEST_FLUSH = 2.0
logger = get_logger(__name__)


@asynccontextmanager
async def open_telemetry(environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Record the spans of this process for as long as the block, where `environment` asks for it.

    What it asks for and cannot be had is logged: no broker stands still for the lack of its traces.
    """
    exporters = _exporters(environment)
    if not exporters:
        yield
        return
    try:
        provider = _open(exporters)
    except Exception as error:  # noqa: BLE001 - whatever a library makes of foreign variables
        _is_off(f"{type(error).__name__} while reading the OTEL_ variables")
        yield
        return
    before = exchange_tracer(provider.get_tracer(_NAME, version(_NAME)))
    try:
        yield
    finally:
        exchange_tracer(before)
        # In a thread that does not keep the process from ending.
        closing = threading.Thread(target=provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _LONGEST_FLUSH)


def _exporters(environment: Mapping[str, str]) -> list[str]:
    """Return which exporters are wanted and known."""

    def of(name: str) -> str:
        return environment.get(f"OTEL_{name}", "").strip()

    if of("SDK_DISABLED").lower() == "true":
        return []
    has_address = of("EXPORTER_OTLP_TRACES_ENDPOINT") or of("EXPORTER_OTLP_ENDPOINT")
    wanted = of("TRACES_EXPORTER") or ("otlp" if has_address else "none")
    known = []
    for exporter in dict.fromkeys(one.strip() for one in wanted.split(",")):
        protocol = of("EXPORTER_OTLP_TRACES_PROTOCOL") or of("EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
        if exporter == "otlp" and protocol != _PROTOCOL:
            _is_off(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; the broker speaks {_PROTOCOL}, mostly on port 4318")
        elif exporter in ("otlp", "console"):
            known.append(exporter)
        elif exporter != "none":
            _is_off(f"OTEL_TRACES_EXPORTER is {exporter!r}; the broker knows otlp, console and none")
    return known


def _open(exporters: list[str]) -> "TracerProvider":
    # Costs a start some 0.1 s, so only who traces pays for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415

    resource = Resource.create({"service.version": version(_NAME), "service.instance.id": new_id("rep")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": _NAME}))
    # Not made the process's provider: libraries would record addresses, and what they are asked with.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())
        )
    return provider


def _is_off(reason: str) -> None:
    logger.warning("traces_not_exported", reason=reason)
