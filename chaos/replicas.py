"""Replicas of `broker serve` as processes: started, killed, stopped, frozen, started again."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import aiohttp

from chaos.processes import Child
from chaos.waiting import until

BROKER = str(Path(sys.executable).with_name("broker"))
_SHIFTED_CLOCK = Path(__file__).parent / "shifted_clock"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scenario wants of its replicas. Seconds."""

    count: int = 3
    deadline: float = 3.0
    lease: float = 4.0
    clock_shifts: tuple[float, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, index: int) -> dict[str, str]:
        """Return the variables of one replica."""
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
    """One `broker serve` with a spool of its own, on a port that it keeps."""

    def __init__(self, name: str, directory: Path, common: Mapping[str, str], *, port: int | None = None) -> None:
        self.name = name
        self.data_dir = directory / name
        self._log = directory / f"{name}.log"
        self._port = port or _free_port()
        self._common = {**common, "BROKER_DATA_DIR": str(self.data_dir)}
        self._environment: dict[str, str] = {}
        self._child: Child | None = None
        self._was_ready = False

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether it has been seen to serve in this life."""
        return self.is_alive and self._was_ready

    @property
    def log(self) -> Path:
        """What it said, over all its lives."""
        return self._log

    def spooled(self) -> int:
        """Count the answers that it keeps on disk."""
        return sum(1 for _ in (self.data_dir / "spool").glob("*.refresh"))

    def has(self, environment: Mapping[str, str]) -> bool:
        """Whether it runs with these variables."""
        return self.is_alive and self._environment == environment

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, with the variables of its last life unless others are given."""
        self._was_ready = False
        if environment is not None:
            self._environment = dict(environment)
        command = (BROKER, "serve", "--port", str(self._port))
        variables = {**self._common, **self._environment}
        self._child = await Child.start(*command, environment=variables, log=self._log)

    async def ready(self) -> None:
        """Return when it serves. Raises RuntimeError where it ended instead."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:

            async def answers() -> bool:
                if not self.is_alive:
                    raise RuntimeError(f"{self.name} ended: {self._running.last_words()}")
                try:
                    async with http.get(f"{self.url}/readyz") as answer:
                        return answer.status == 200 and (await answer.json())["checks"]["notifications"] == "ok"
                except (aiohttp.ClientError, TimeoutError):
                    return False

            await until(f"{self.name} to be ready", answers, pause=0.1)
        self._was_ready = True

    async def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            await self._child.kill()

    async def terminate(self, patience: float = 60.0) -> int:
        """SIGTERM, and wait for its end."""
        return await self._running.terminate(patience)

    def freeze(self) -> None:
        """SIGSTOP: it runs no more, and nobody can tell."""
        self._running.signal(SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running.signal(SIGCONT)

    @property
    def _running(self) -> Child:
        assert self._child is not None, f"{self.name} was never started"
        return self._child


class Fleet:
    """All replicas, on one database."""

    def __init__(self, directory: Path, common: Mapping[str, str]) -> None:
        self._directory = directory
        self._common = common
        self.shape = Shape()
        self._known: list[Replica] = []

    @property
    def replicas(self) -> list[Replica]:
        """Those that the present shape has."""
        return self._known[: self.shape.count]

    async def take(self, shape: Shape) -> list[Replica]:
        """Have `shape.count` replicas run and ready in this shape; what fits already stays as it is."""
        self.shape = shape
        while len(self._known) < shape.count:
            self._known.append(Replica(f"replica-{len(self._known) + 1}", self._directory, self._common))
        for surplus in self._known[shape.count :]:
            await surplus.kill()
        for index, replica in enumerate(self.replicas):
            if not replica.has(shape.environment(index)):
                await replica.kill()
                await replica.start(shape.environment(index))
        await asyncio.gather(*(replica.ready() for replica in self.replicas))
        return self.replicas

    async def all_up(self) -> None:
        """Start again whatever is down, and wait until all are ready."""
        await self.take(self.shape)

    def spooled(self) -> int:
        """Count the answers that are on disk, of whatever replica."""
        return sum(replica.spooled() for replica in self._known)

    async def kill_all(self) -> None:
        """End every process."""
        await asyncio.gather(*(replica.kill() for replica in self._known))


@asynccontextmanager
async def open_fleet(directory: Path, common: Mapping[str, str]) -> AsyncIterator[Fleet]:
    """Give a fleet whose processes end with the block."""
    fleet = Fleet(directory, common)
    try:
        yield fleet
    finally:
        await asyncio.shield(fleet.kill_all())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
