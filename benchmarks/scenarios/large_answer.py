"""The memory that the broker needs to forward a response of 200 MB, to a fast and to a slow caller."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from benchmarks.load import QUERY
from benchmarks.processes import peak_resident_bytes, reset_peak, resident_bytes
from benchmarks.report import show_table
from benchmarks.stage import RunningBroker, Stage

_BYTES = 200_000_000
_LIMIT_MB = 20.0
_CHUNK = 1_048_576


async def measure(stage: Stage) -> None:
    """Read the response at both speeds, and measure the peak resident memory."""
    rows = []
    with stage.upstream(huge_bytes=_BYTES) as upstream:
        async with stage.broker(upstream.url, stitch_graphql_url=f"{upstream.url}/huge") as broker:
            (connection_id,) = await broker.links.make(1)
            for title, pause in (("fast", _no_pause), ("slow", _pause)):
                before = resident_bytes(broker.pid)
                reset_peak(broker.pid)
                received = await _read(broker, connection_id, pause)
                grown = (peak_resident_bytes(broker.pid) - before) / 1e6
                rows.append([title, f"{received / 1e6:.0f}", f"{before / 1e6:.0f}", f"{grown:.1f}"])
                stage.report.at_most(
                    f"additional memory for a 200 MB response, {title} caller", grown, _LIMIT_MB, " MB"
                )
                stage.report.at_least(f"received by the {title} caller", received / 1e6, _BYTES / 1e6, " MB")
    show_table(["caller", "MB received", "MB resident before", "MB more"], rows)


async def _read(broker: RunningBroker, connection_id: str, pause: Callable[[int], Awaitable[None]]) -> int:
    """Read a response to its end, and return the length of its body."""
    parts = urlsplit(broker.query_url(connection_id))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_CHUNK)
    writer.write(
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {broker.authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(QUERY)}\r\nConnection: close\r\n\r\n".encode()
        + QUERY
    )
    await reader.readuntil(b"\r\n\r\n")
    received = 0
    while chunk := await reader.read(_CHUNK):
        received += len(chunk)
        await pause(received)
    writer.close()
    return received


async def _no_pause(_received: int) -> None:
    pass


async def _pause(received: int) -> None:
    """Read very slowly at first, and then pause from time to time."""
    if received < 5 * _CHUNK:
        await asyncio.sleep(0.1)
    elif received % 16 == 0:
        await asyncio.sleep(0.001)
