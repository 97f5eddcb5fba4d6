"""Memory for each connection that is cached with its token."""

from benchmarks.load import put_load
from benchmarks.processes import resident_bytes
from benchmarks.report import print_line
from benchmarks.stage import Stage

_LIMIT_KIB = 10.0


async def measure(stage: Stage) -> None:
    """Query each connection twice, and measure how much the process has grown."""
    count = 1_500 if stage.quick else 10_000
    with stage.upstream() as upstream:
        async with stage.broker(upstream.url, cache_ttl=300) as broker:
            first, *others = await broker.links.make(count + 1)
            # The first queries make any process grow, regardless of the connections.
            await put_load([broker.query_url(first)], broker.authorization, connections=32, requests=2_000)
            before = resident_bytes(broker.pid)
            urls = [broker.query_url(connection_id) for connection_id in others]
            load = await put_load(urls, broker.authorization, connections=32, requests=2 * count)
            grown = resident_bytes(broker.pid) - before
    print_line(f"    {count:,} connections: {grown / 2**20:.1f} MiB more than the {before / 2**20:.0f} MiB before\n")
    stage.report.at_most("memory for each cached connection", grown / count / 1024, _LIMIT_KIB, " KiB")
    stage.report.at_most("failed queries of cached connections", load.failures, 0)
