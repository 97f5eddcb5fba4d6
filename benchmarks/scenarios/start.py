"""The time until a broker is ready, and its CPU time and memory. No limits, because the time depends on the machine."""

from statistics import median

from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.report import print_line
from benchmarks.stage import Stage


async def measure(stage: Stage) -> None:
    """Start a broker several times, on a migrated database."""
    seconds, cpu, memory = [], [], []
    with stage.upstream() as upstream:
        for _ in range(1 if stage.quick else 5):
            async with stage.broker(upstream.url) as broker:
                seconds.append(broker.seconds_to_readiness)
                cpu.append(cpu_seconds(broker.pid))
                memory.append(resident_bytes(broker.pid) / 2**20)
    print_line(
        f"    ready after {median(seconds):.1f} s, of which {median(cpu):.1f} s of CPU,"
        f" with {median(memory):.0f} MiB resident\n"
    )
