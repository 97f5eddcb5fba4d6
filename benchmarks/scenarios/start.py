"""How long a broker takes to be ready, and what it uses then. Wall time says most about the machine: no promise."""

from statistics import median

from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.report import say
from benchmarks.stage import Stage


async def measure(stage: Stage) -> None:
    """Start it a few times, on a migrated database."""
    seconds, cpu, memory = [], [], []
    with stage.upstream() as upstream:
        for _ in range(1 if stage.quick else 5):
            async with stage.broker(upstream.url) as broker:
                seconds.append(broker.seconds_to_readiness)
                cpu.append(cpu_seconds(broker.pid))
                memory.append(resident_bytes(broker.pid) / 2**20)
    say(
        f"    ready after {median(seconds):.1f} s, of which {median(cpu):.1f} s of CPU,"
        f" with {median(memory):.0f} MiB resident\n"
    )
