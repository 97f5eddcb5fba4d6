"""A query whose connection is not cached, in a database of a thousand connections and in one of a million.

Caching is off (`CACHE_TTL` 0), so each query reads its caller and its connection. Both databases are on one server, and
the two brokers are queried in turn.
"""

from statistics import median

from benchmarks.links import fill
from benchmarks.load import Load, put_load
from benchmarks.processes import cpu_seconds
from benchmarks.report import print_line, show_table
from benchmarks.stage import RunningBroker, Stage

_LIVE = 500
_CONNECTIONS = 8


async def measure(stage: Stage) -> None:
    """Measure the CPU time of broker and database together for each query."""
    rounds, seconds, many = (3, 1.0, 20_000) if stage.quick else (7, 4.0, 1_000_000)
    sizes = {"small": 1_000, "large": many}
    with stage.upstream() as upstream:
        async with (
            stage.broker(upstream.url, database="small", cache_ttl=0) as small,
            stage.broker(upstream.url, database="large", cache_ttl=0) as large,
        ):
            brokers: dict[str, tuple[RunningBroker, list[str]]] = {}
            for name, broker in (("small", small), ("large", large)):
                live = await broker.links.make(_LIVE)
                print_line(f"    filling a database with {sizes[name]:,} connections")
                async with stage.connected(name) as connection:
                    await fill(connection, sizes[name] - _LIVE)
                brokers[name] = broker, [broker.query_url(connection_id) for connection_id in live]
                await put_load(brokers[name][1], broker.authorization, connections=_CONNECTIONS, seconds=2)
            cpu: dict[str, list[float]] = {name: [] for name in brokers}
            loads: dict[str, list[Load]] = {name: [] for name in brokers}
            for _ in range(rounds):
                for name, (broker, urls) in brokers.items():
                    before = cpu_seconds(broker.pid) + cpu_seconds(stage.postgresql_pid)
                    load = await put_load(urls, broker.authorization, connections=_CONNECTIONS, seconds=seconds)
                    after = cpu_seconds(broker.pid) + cpu_seconds(stage.postgresql_pid)
                    cpu[name].append((after - before) / load.requests * 1e6)
                    loads[name].append(load)
    rows = [
        [
            f"{sizes[name]:,}",
            f"{median(cpu[name]):.0f}",
            f"{median(load.milliseconds(0.5) for load in loads[name]):.1f}",
        ]
        for name in brokers
    ]
    show_table(["connections", "CPU µs/query, broker and database", "p50 ms"], rows)
    ratio = median(cpu["large"]) / median(cpu["small"])
    stage.report.at_most(
        f"a cold query with {many:,} connections, relative to 1,000", ratio, 1.5 if stage.quick else 1.2
    )
