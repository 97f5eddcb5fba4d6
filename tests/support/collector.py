"""A collector of traces, as OpenTelemetry's exporter meets one: over HTTP, in protobuf."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.eventually import eventually
from tests.support.hostile import HostileServer, Reply, hostile_server

PATH = "/v1/traces"
_TAKEN = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@dataclass(frozen=True)
class CollectedSpan:
    """A span as it was exported; ids in hexadecimal digits, empty where there is none."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Where brokers export to."""

    def __init__(self, server: HostileServer) -> None:
        self._server = server
        server.replies[PATH] = _TAKEN

    @property
    def environment(self) -> dict[str, str]:
        """What has a broker export to here, without a long wait."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self._server.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @property
    def bodies(self) -> list[bytes]:
        """What was sent, as it was."""
        return [body for path, _, body in self._server.received if path == PATH]

    @property
    def text(self) -> str:
        """All of it, with what is text in it to be read."""
        return b"".join(self.bodies).decode("latin-1")

    @property
    def spans(self) -> list[CollectedSpan]:
        """Every span so far."""
        return [span for body in self.bodies for span in _read(body)]

    async def request(self, request_id: str) -> None:
        """Wait for the span of a request."""

        async def has_come() -> bool:
            return request_id in self.text

        await eventually(has_come)

    async def trace(self, trace_id: str, *, until: str) -> list[CollectedSpan]:
        """Return the spans of one trace, once one of this name has come: a request's own comes last."""

        async def has_come() -> bool:
            return any(span.name == until and span.trace_id == trace_id for span in self.spans)

        await eventually(has_come)
        return [span for span in self.spans if span.trace_id == trace_id]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run one on a free port."""
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
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
