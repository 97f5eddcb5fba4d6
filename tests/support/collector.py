"""A collector of OpenTelemetry traces: OTLP over HTTP in protobuf."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.eventually import eventually
from tests.support.hostile import HostileServer, Reply, hostile_server

PATH = "/v1/traces"
_ACCEPTED = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@dataclass(frozen=True)
class CollectedSpan:
    """An exported span. Ids are hexadecimal; `parent_id` is empty if there is no parent."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Receives the spans that brokers export."""

    def __init__(self, server: HostileServer) -> None:
        self._server = server
        server.replies[PATH] = _ACCEPTED

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a broker export to this collector without much delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self._server.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all requests."""
        return [body for path, _, body in self._server.received if path == PATH]

    @property
    def text(self) -> str:
        """All bodies as one text, in which plain strings can be searched."""
        return b"".join(self.bodies).decode("latin-1")

    @property
    def spans(self) -> list[CollectedSpan]:
        """All spans so far."""
        return [span for body in self.bodies for span in _read(body)]

    async def wait_for_request(self, request_id: str) -> None:
        """Wait for the span of a request."""

        async def is_exported() -> bool:
            return request_id in self.text

        await eventually(is_exported)

    async def wait_for_trace(self, trace_id: str, *, until: str) -> list[CollectedSpan]:
        """Return the spans of a trace, once the span named `until` has been exported: that of a request comes last."""

        async def is_exported() -> bool:
            return any(span.name == until and span.trace_id == trace_id for span in self.spans)

        await eventually(is_exported)
        return [span for span in self.spans if span.trace_id == trace_id]


@asynccontextmanager
async def run_collector() -> AsyncIterator[Collector]:
    """Run a collector on a free port."""
    async with hostile_server() as server:
        yield Collector(server)


def _read(body: bytes) -> Iterator[CollectedSpan]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield CollectedSpan(
                    name=span.name,
                    kind=type(span).SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    failed=span.status.code == 2,
                    attributes=_values(span.attributes),
                    resource=_values(of_resource.resource.attributes),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in attributes}
