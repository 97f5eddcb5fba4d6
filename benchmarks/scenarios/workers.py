"""The throughput of two workers compared with one.

The load generator and the upstream use the same cores, so queries per second would depend on the machine. Instead this
measures the CPU time of each worker: the throughput is limited when the busier worker fills a core.
"""

from collections import defaultdict

from benchmarks.load import put_load
from benchmarks.processes import cpu_by_process
from benchmarks.report import print_line
from benchmarks.stage import RunningBroker, Stage

_CONNECTIONS_EACH = 32


class _Measurement:
    """The results of all rounds of one broker."""

    def __init__(self, broker: RunningBroker, workers: int) -> None:
        self._broker = broker
        self._connections = workers * _CONNECTIONS_EACH
        self._queries = 0
        self._cpu: defaultdict[int, float] = defaultdict(float)

    async def run_round(self, connection_id: str, seconds: float) -> None:
        """Run a round. It opens new connections, which are distributed over the workers again."""
        urls = [self._broker.query_url(connection_id)]
        before = cpu_by_process(self._broker.pid)
        load = await put_load(urls, self._broker.authorization, connections=self._connections, seconds=seconds)
        for pid, used in cpu_by_process(self._broker.pid).items():
            self._cpu[pid] += used - before[pid]
        self._queries += load.requests

    @property
    def per_busiest_second(self) -> float:
        """Queries per second of CPU time of the busiest process."""
        return self._queries / max(self._cpu.values())


async def measure(stage: Stage) -> None:
    """Measure the queries per second of CPU time of the busiest worker, with one worker and with two."""
    rounds, seconds = (3, 1.0) if stage.quick else (8, 4.0)
    with stage.upstream() as upstream:
        async with stage.broker(upstream.url) as single, stage.broker(upstream.url, workers=2) as double:
            (connection_id,) = await single.links.make(1)
            alone, both = _Measurement(single, 1), _Measurement(double, 2)
            for measurement in (_Measurement(single, 1), _Measurement(double, 2), *(alone, both) * rounds):
                await measurement.run_round(connection_id, seconds)
    first, second = alone.per_busiest_second, both.per_busiest_second
    print_line(f"    queries per second of CPU: {first:.0f} by a single worker, {second:.0f} by the busier of two\n")
    stage.report.at_least("two workers, relative to one", second / first, 1.7)
