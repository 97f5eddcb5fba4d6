"""Memory for each connection that is remembered with its token."""

from benchmarks.load import put_load
from benchmarks.processes import resident_bytes
from benchmarks.report import say
from benchmarks.stage import Stage

_LIMIT_KIB = 10.0


async def measure(stage: Stage) -> None:
    """Query that many connections, each twice, and see what the process has grown by."""
    count = 1_500 if stage.quick else 10_000
    with stage.upstream() as upstream:
        async with stage.broker(upstream.url, cache_ttl=300) as broker:
            first, *others = await broker.links.make(count + 1)
            # What every process grows by at its first queries is not the connections'.
            await put_load([broker.query_url(first)], broker.authorization, connections=32, requests=2_000)
            before = resident_bytes(broker.pid)
            urls = [broker.query_url(one) for one in others]
            load = await put_load(urls, broker.authorization, connections=32, requests=2 * count)
            grown = resident_bytes(broker.pid) - before
    say(f"    {count:,} connections: {grown / 2**20:.1f} MiB more resident than the {before / 2**20:.0f} of before\n")
    stage.report.at_most("memory for each remembered connection", grown / count / 1024, _LIMIT_KIB, " KiB")
    stage.report.at_most("failed queries of remembered connections", load.failures, 0)
