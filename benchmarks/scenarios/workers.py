"""Two workers: how many queries the busier one leaves the broker room for, beside one worker alone.

The load generator and the upstream want cores too, so queries per second would tell what they leave. What can be told
on any machine is the CPU of each worker: a core that is full of the busier worker is the end of what two can do.
"""

from collections import defaultdict

from benchmarks.load import put_load
from benchmarks.processes import cpu_by_process
from benchmarks.report import say
from benchmarks.stage import RunningBroker, Stage

_CONNECTIONS_EACH = 32


class _Worked:
    """What the rounds of one broker came to."""

    def __init__(self, broker: RunningBroker, workers: int) -> None:
        self._broker = broker
        self._connections = workers * _CONNECTIONS_EACH
        self._queries = 0
        self._cpu: defaultdict[int, float] = defaultdict(float)

    async def play(self, connection_id: str, seconds: float) -> None:
        """Play a round. Its connections are new, and find workers anew."""
        urls = [self._broker.query_url(connection_id)]
        before = cpu_by_process(self._broker.pid)
        load = await put_load(urls, self._broker.authorization, connections=self._connections, seconds=seconds)
        for pid, used in cpu_by_process(self._broker.pid).items():
            self._cpu[pid] += used - before[pid]
        self._queries += load.requests

    @property
    def per_busiest_second(self) -> float:
        """Queries for each second of CPU of the busiest process."""
        return self._queries / max(self._cpu.values())


async def measure(stage: Stage) -> None:
    """Measure how many queries a second of the busiest worker's CPU is enough for, with one worker and with two."""
    rounds, seconds = (3, 1.0) if stage.quick else (8, 4.0)
    with stage.upstream() as upstream:
        async with stage.broker(upstream.url) as one, stage.broker(upstream.url, workers=2) as two:
            (connection_id,) = await one.links.make(1)
            alone, both = _Worked(one, 1), _Worked(two, 2)
            for worked in (_Worked(one, 1), _Worked(two, 2), *(alone, both) * rounds):
                await worked.play(connection_id, seconds)
    first, second = alone.per_busiest_second, both.per_busiest_second
    say(f"    queries per second of CPU: {first:.0f} by the one worker, {second:.0f} by the busier one of two\n")
    stage.report.at_least("two workers, to one", second / first, 1.7)
