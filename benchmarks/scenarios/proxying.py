"""CPU per proxied query: the broker with everything on, and proxies that do nothing else.

All run at once and are asked in turn, round after round, so that whatever else the machine does is spread over them.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Load, put_load
from benchmarks.peers.starting import Missing, Peer, fastify, naive, nginx
from benchmarks.processes import cpu_seconds
from benchmarks.report import say, show_table
from benchmarks.stage import Stage

_CONNECTIONS = 32


@dataclass(slots=True)
class _Figures:
    """What the rounds of one proxy came to."""

    cpu: list[float] = field(default_factory=list)
    """Microseconds of CPU per query."""
    loads: list[Load] = field(default_factory=list)

    def cells(self, name: str, reference: "_Figures") -> list[str]:
        """Return its row of the table."""
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
    """Measure every peer that runs here. Without Fastify the full form falls short."""
    rounds, seconds = (5, 1.0) if stage.quick else (9, 3.0)
    with ExitStack() as stack:
        upstream = stack.enter_context(stage.upstream())
        peers = []
        for start in (fastify, naive, nginx):
            try:
                peers.append(stack.enter_context(start(upstream.url, stage.place.logs)))
            except Missing as reason:
                say(f"    left out: {reason}")
                if start is fastify and not stage.quick:
                    stage.report.at_least("Fastify is there to compare with", 0, 1)
        async with stage.broker(upstream.url) as broker:
            (connection_id,) = await broker.links.make(1)
            peers.insert(0, Peer("broker", broker.pid, broker.query_url(connection_id), broker.authorization))
            figures = {peer.name: _Figures() for peer in peers}
            for peer in peers:
                await put_load([peer.url], peer.authorization, connections=_CONNECTIONS, seconds=1)
            for _ in range(rounds):
                for peer in peers:
                    await _ask(peer, figures[peer.name], seconds)
    reference = figures.get("fastify", figures["broker"])
    columns = ["", "CPU µs/query", f"to {'fastify' if 'fastify' in figures else 'broker'}", "queries/s"]
    show_table([*columns, "p50 ms", "p99 ms", "failed"], [one.cells(name, reference) for name, one in figures.items()])
    _judge(stage, figures)


async def _ask(peer: Peer, figures: _Figures, seconds: float) -> None:
    before = cpu_seconds(peer.pid)
    load = await put_load([peer.url], peer.authorization, connections=_CONNECTIONS, seconds=seconds)
    figures.cpu.append((cpu_seconds(peer.pid) - before) / load.requests * 1e6)
    figures.loads.append(load)


def _judge(stage: Stage, figures: dict[str, _Figures]) -> None:
    # Of short rounds on a busy machine the least disturbed counts; they tell of what has become much dearer.
    cost = min if stage.quick else median
    broker = cost(figures["broker"].cpu)
    if "fastify" in figures:
        ratio = broker / cost(figures["fastify"].cpu)
        stage.report.at_most("CPU per query, to Fastify's bare proxy", ratio, 1.4 if stage.quick else 1.0)
    stage.report.at_most("CPU per query, to naive FastAPI + httpx", broker / cost(figures["naive"].cpu), 0.1)
    stage.report.at_most("failed queries", sum(load.failures for load in figures["broker"].loads), 0)
