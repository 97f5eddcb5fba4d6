"""Export of traces, configured by OpenTelemetry's own variables.

See https://opentelemetry.io/docs/languages/sdk-configuration/. Traces are off unless `OTEL_TRACES_EXPORTER` or the
endpoint of a collector is set. The variables that turn them on are read here; the library reads the others itself.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from app.base.randomness import new_id
from app.observability.logs import get_logger
from app.observability.tracing import replace_tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_NAME = "stitch-token-broker"
_PROTOCOL = "http/protobuf"
# For the spans that have not reached the collector when the process ends.
_FLUSH_TIMEOUT = 2.0  # seconds
logger = get_logger(__name__)


@asynccontextmanager
async def export_traces(environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Record and export the spans of this process within the block, if `environment` turns traces on.

    An unsupported or invalid configuration is logged: missing traces must not stop the broker.
    """
    exporters = _exporters(environment)
    if not exporters:
        yield
        return
    try:
        provider = _tracer_provider(exporters)
    except Exception as error:  # noqa: BLE001 - the library may raise anything for invalid variables
        _log_not_exported(f"{type(error).__name__} while reading the OTEL_ variables")
        yield
        return
    previous = replace_tracer(provider.get_tracer(_NAME, version(_NAME)))
    try:
        yield
    finally:
        replace_tracer(previous)
        # A daemon thread does not keep the process from ending.
        shutdown = threading.Thread(target=provider.shutdown, daemon=True)
        shutdown.start()
        await asyncio.to_thread(shutdown.join, _FLUSH_TIMEOUT)


def _exporters(environment: Mapping[str, str]) -> list[str]:
    """Return the configured exporters that the broker supports."""

    def variable(name: str) -> str:
        return environment.get(f"OTEL_{name}", "").strip()

    if variable("SDK_DISABLED").lower() == "true":
        return []
    has_endpoint = variable("EXPORTER_OTLP_TRACES_ENDPOINT") or variable("EXPORTER_OTLP_ENDPOINT")
    configured = variable("TRACES_EXPORTER") or ("otlp" if has_endpoint else "none")
    supported = []
    for exporter in dict.fromkeys(name.strip() for name in configured.split(",")):
        protocol = variable("EXPORTER_OTLP_TRACES_PROTOCOL") or variable("EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
        if exporter == "otlp" and protocol != _PROTOCOL:
            _log_not_exported(
                f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; only {_PROTOCOL} is supported, usually on port 4318"
            )
        elif exporter in ("otlp", "console"):
            supported.append(exporter)
        elif exporter != "none":
            _log_not_exported(f"OTEL_TRACES_EXPORTER is {exporter!r}; only otlp, console and none are supported")
    return supported


def _tracer_provider(exporters: list[str]) -> "TracerProvider":
    # The import takes some 0.1 s, so it is done only if traces are on.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415

    resource = Resource.create({"service.version": version(_NAME), "service.instance.id": new_id("rep")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": _NAME}))
    # Not set as the global provider: libraries would record URLs and parameters in spans of their own.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())
        )
    return provider


def _log_not_exported(reason: str) -> None:
    logger.warning("traces_not_exported", reason=reason)
