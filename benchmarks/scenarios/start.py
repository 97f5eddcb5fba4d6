"""What a start costs: of commands, and of a broker until it is ready. The least of several starts counts."""

import resource

from app.demo.processes import run_broker
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.report import print_line
from benchmarks.stage import RunningBroker, Stage

_STARTS = 5
# The CPU seconds that each command may use.
_COMMANDS = (
    (("--help",), 0.3),
    (("pkce", "new"), 0.3),
    (("encryption", "generate"), 0.3),
    (("callers", "list"), 0.5),
    (("migrate",), 0.5),
)
_MAX_SERVE_CPU_SECONDS = 1.0
_MAX_SERVE_MIB = 100


async def measure(stage: Stage) -> None:
    """Start a broker and the commands several times, on a migrated database."""
    seconds, cpu, memory = [], [], []
    with stage.upstream() as upstream:
        for _ in range(1 if stage.quick else _STARTS):
            async with stage.broker(upstream.url) as broker:
                seconds.append(broker.seconds_to_readiness)
                cpu.append(cpu_seconds(broker.pid))
                memory.append(resident_bytes(broker.pid) / 2**20)
        _measure_commands(stage, broker)
    print_line(f"    serve is ready after {min(seconds):.1f} s\n")
    stage.report.at_most("CPU until `serve` is ready", min(cpu), _MAX_SERVE_CPU_SECONDS, " s")
    stage.report.at_most("memory when `serve` is ready", min(memory), _MAX_SERVE_MIB, " MiB")


def _measure_commands(stage: Stage, broker: RunningBroker) -> None:
    for arguments, limit in _COMMANDS:
        name = f"CPU of `broker {' '.join(arguments)}`"
        stage.report.at_most(name, min(_cpu_of(arguments, broker) for _ in range(_STARTS)), limit, " s")


def _cpu_of(arguments: tuple[str, ...], broker: RunningBroker) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_broker(*arguments, environment=broker.environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
