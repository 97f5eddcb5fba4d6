"""Runs replicas of `broker serve` as child processes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import aiohttp

from chaos.processes import Child
from chaos.waiting import until
from interop.ports import free_port

BROKER = str(Path(sys.executable).with_name("broker"))
_SHIFTED_CLOCK = Path(__file__).parent / "shifted_clock"


@dataclass(frozen=True, slots=True)
class Shape:
    """How many replicas a scenario uses, and how they are configured. Times are in seconds."""

    count: int = 3
    deadline: float = 3.0
    lease: float = 4.0
    clock_shifts: tuple[float, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, index: int) -> dict[str, str]:
        """Return the environment variables of one replica."""
        environment = {
            "BROKER_REFRESH_DEADLINE": str(self.deadline),
            "BROKER_REFRESH_LEASE": str(self.lease),
            **self.variables,
        }
        if self.clock_shifts and self.clock_shifts[index]:
            path = os.pathsep.join((str(_SHIFTED_CLOCK), os.environ.get("PYTHONPATH", "")))
            environment |= {"PYTHONPATH": path, "CHAOS_CLOCK_SHIFT": str(self.clock_shifts[index])}
        return environment


class Replica:
    """A `broker serve` process with its own spool. A restarted replica uses the same port."""

    def __init__(self, name: str, directory: Path, common: Mapping[str, str], *, port: int | None = None) -> None:
        self.name = name
        self.data_dir = directory / name
        self._log = directory / f"{name}.log"
        self._port = port or free_port()
        self._common = {**common, "BROKER_DATA_DIR": str(self.data_dir)}
        self._environment: dict[str, str] = {}
        self._child: Child | None = None
        self._was_ready = False

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._child is not None and self._child.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether it has become ready since its last start."""
        return self.is_alive and self._was_ready

    @property
    def log(self) -> Path:
        """The output of all its runs."""
        return self._log

    def spooled(self) -> int:
        """Count the token responses in its spool."""
        return sum(1 for _ in (self.data_dir / "spool").glob("*.refresh"))

    def runs_with(self, environment: Mapping[str, str]) -> bool:
        """Return whether it is running with these environment variables."""
        return self.is_alive and self._environment == environment

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the process, with the variables of its last run unless others are given."""
        self._was_ready = False
        if environment is not None:
            self._environment = dict(environment)
        command = (BROKER, "serve", "--port", str(self._port))
        variables = {**self._common, **self._environment}
        self._child = await Child.start(*command, environment=variables, log=self._log)

    async def wait_until_ready(self) -> None:
        """Return when the replica is ready. Raises RuntimeError if its process ends."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:

            async def is_ready() -> bool:
                if not self.is_alive:
                    raise RuntimeError(f"{self.name} ended: {self._running.last_output()}")
                try:
                    async with http.get(f"{self.url}/readyz") as response:
                        return response.status == 200 and (await response.json())["checks"]["notifications"] == "ok"
                except (aiohttp.ClientError, TimeoutError):
                    return False

            await until(f"{self.name} to be ready", is_ready, pause=0.1)
        self._was_ready = True

    async def kill(self) -> None:
        """Send SIGKILL."""
        if self._child is not None:
            await self._child.kill()

    async def terminate(self, timeout_seconds: float = 60.0) -> int:
        """Send SIGTERM, and return the exit status."""
        return await self._running.terminate(timeout_seconds)

    def freeze(self) -> None:
        """Send SIGSTOP: the process stops running, but its connections stay open."""
        self._running.signal(SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT: the process continues."""
        self._running.signal(SIGCONT)

    @property
    def _running(self) -> Child:
        assert self._child is not None, f"{self.name} was never started"
        return self._child


class Fleet:
    """All replicas, which share one database."""

    def __init__(self, directory: Path, common: Mapping[str, str]) -> None:
        self._directory = directory
        self._common = common
        self.shape = Shape()
        self._all: list[Replica] = []

    @property
    def replicas(self) -> list[Replica]:
        """The replicas of the current shape."""
        return self._all[: self.shape.count]

    async def apply(self, shape: Shape) -> list[Replica]:
        """Run `shape.count` replicas of this shape, and return once they are ready. Only restarts those that differ."""
        self.shape = shape
        while len(self._all) < shape.count:
            self._all.append(Replica(f"replica-{len(self._all) + 1}", self._directory, self._common))
        for surplus in self._all[shape.count :]:
            await surplus.kill()
        for index, replica in enumerate(self.replicas):
            if not replica.runs_with(shape.environment(index)):
                await replica.kill()
                await replica.start(shape.environment(index))
        await asyncio.gather(*(replica.wait_until_ready() for replica in self.replicas))
        return self.replicas

    async def start_all(self) -> None:
        """Start the replicas that are down, and return once all are ready."""
        await self.apply(self.shape)

    def spooled(self) -> int:
        """Count the token responses in all spools."""
        return sum(replica.spooled() for replica in self._all)

    async def kill_all(self) -> None:
        """Kill every process."""
        await asyncio.gather(*(replica.kill() for replica in self._all))


@asynccontextmanager
async def open_fleet(directory: Path, common: Mapping[str, str]) -> AsyncIterator[Fleet]:
    """Yield a fleet, and kill its processes after the block."""
    fleet = Fleet(directory, common)
    try:
        yield fleet
    finally:
        await asyncio.shield(fleet.kill_all())
