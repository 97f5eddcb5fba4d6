"""CPU time for each forwarded query: the broker with all its features, and minimal proxies.

All run at the same time and are measured in turn, in several rounds, so that other load affects all of them equally.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Load, put_load
from benchmarks.peers.starting import Missing, Peer, fastify, naive, nginx
from benchmarks.processes import cpu_seconds
from benchmarks.report import print_line, show_table
from benchmarks.stage import Stage

_CONNECTIONS = 32


@dataclass(slots=True)
class _Figures:
    """The results of all rounds of one proxy."""

    cpu: list[float] = field(default_factory=list)
    """Microseconds of CPU time per query."""
    loads: list[Load] = field(default_factory=list)

    def cells(self, name: str, reference: "_Figures") -> list[str]:
        """Return the row of the table."""
        return [
            name,
            f"{median(self.cpu):.0f}",
            f"{median(self.cpu) / median(reference.cpu):.2f}",
            f"{median(load.rate for load in self.loads):.0f}",
            f"{median(load.milliseconds(0.5) for load in self.loads):.1f}",
            f"{median(load.milliseconds(0.99) for load in self.loads):.1f}",
            str(sum(load.failures for load in self.loads)),
        ]


async def measure(stage: Stage) -> None:
    """Measure every proxy that runs on this machine. The full run fails without Fastify."""
    rounds, seconds = (5, 1.0) if stage.quick else (9, 3.0)
    with ExitStack() as stack:
        upstream = stack.enter_context(stage.upstream())
        peers = []
        for start in (fastify, naive, nginx):
            try:
                peers.append(stack.enter_context(start(upstream.url, stage.place.logs)))
            except Missing as reason:
                print_line(f"    left out: {reason}")
                if start is fastify and not stage.quick:
                    stage.report.at_least("Fastify is installed", 0, 1)
        async with stage.broker(upstream.url) as broker:
            (connection_id,) = await broker.links.make(1)
            peers.insert(0, Peer("broker", broker.pid, broker.query_url(connection_id), broker.authorization))
            figures = {peer.name: _Figures() for peer in peers}
            for peer in peers:
                await put_load([peer.url], peer.authorization, connections=_CONNECTIONS, seconds=1)
            for _ in range(rounds):
                for peer in peers:
                    await _measure_round(peer, figures[peer.name], seconds)
    reference = figures.get("fastify", figures["broker"])
    columns = ["", "CPU µs/query", f"relative to {'fastify' if 'fastify' in figures else 'broker'}", "queries/s"]
    show_table([*columns, "p50 ms", "p99 ms", "failed"], [row.cells(name, reference) for name, row in figures.items()])
    _judge(stage, figures)


async def _measure_round(peer: Peer, figures: _Figures, seconds: float) -> None:
    before = cpu_seconds(peer.pid)
    load = await put_load([peer.url], peer.authorization, connections=_CONNECTIONS, seconds=seconds)
    figures.cpu.append((cpu_seconds(peer.pid) - before) / load.requests * 1e6)
    figures.loads.append(load)


def _judge(stage: Stage, figures: dict[str, _Figures]) -> None:
    # On a busy machine, use the round with the least disturbance. That still detects large regressions.
    cost = min if stage.quick else median
    broker = cost(figures["broker"].cpu)
    if "fastify" in figures:
        ratio = broker / cost(figures["fastify"].cpu)
        stage.report.at_most("CPU per query, relative to Fastify's proxy", ratio, 1.4 if stage.quick else 1.0)
    stage.report.at_most("CPU per query, relative to naive FastAPI + httpx", broker / cost(figures["naive"].cpu), 0.1)
    stage.report.at_most("failed queries", sum(load.failures for load in figures["broker"].loads), 0)
