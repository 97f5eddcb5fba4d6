"""The memory that an answer of 200 MB takes on its way through: to a caller in a hurry, and to one that dawdles."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from benchmarks.load import QUERY
from benchmarks.processes import forget_peak, peak_resident_bytes, resident_bytes
from benchmarks.report import show_table
from benchmarks.stage import RunningBroker, Stage

_BYTES = 200_000_000
_LIMIT = 20.0
_PIECE = 1_048_576


async def measure(stage: Stage) -> None:
    """Read the answer in both ways, and see the most that was resident meanwhile."""
    rows = []
    with stage.upstream(huge_bytes=_BYTES) as upstream:
        async with stage.broker(upstream.url, stitch_graphql_url=f"{upstream.url}/huge") as broker:
            (connection_id,) = await broker.links.make(1)
            for title, pause in (("in a hurry", _no_pause), ("dawdling", _pause)):
                before = resident_bytes(broker.pid)
                forget_peak(broker.pid)
                received = await _read(broker, connection_id, pause)
                grown = (peak_resident_bytes(broker.pid) - before) / 1e6
                rows.append([title, f"{received / 1e6:.0f}", f"{before / 1e6:.0f}", f"{grown:.1f}"])
                stage.report.at_most(f"more resident for a 200 MB answer, caller {title}", grown, _LIMIT, " MB")
                stage.report.at_least(f"of it arrived, caller {title}", received / 1e6, _BYTES / 1e6, " MB")
    show_table(["caller", "MB received", "MB resident before", "MB more"], rows)


async def _read(broker: RunningBroker, connection_id: str, pause: Callable[[int], Awaitable[None]]) -> int:
    """Read an answer to its end and return how long its body was."""
    parts = urlsplit(broker.query_url(connection_id))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_PIECE)
    writer.write(
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {broker.authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(QUERY)}\r\nConnection: close\r\n\r\n".encode()
        + QUERY
    )
    await reader.readuntil(b"\r\n\r\n")
    received = 0
    while piece := await reader.read(_PIECE):
        received += len(piece)
        await pause(received)
    writer.close()
    return received


async def _no_pause(_received: int) -> None:
    pass


async def _pause(received: int) -> None:
    """Take nothing for a while, early on, and then hesitate now and then."""
    if received < 5 * _PIECE:
        await asyncio.sleep(0.1)
    elif received % 16 == 0:
        await asyncio.sleep(0.001)
