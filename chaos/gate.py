"""A proxy in front of the bank's token endpoint that can stop a refresh at a named point.

It forwards bytes unchanged. Replicas reach the token endpoint through it, so the scenarios know how far a refresh is
without a hook in the broker: the request has arrived, the bank is processing it, or the bank has responded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from urllib.parse import urlsplit

from chaos.waiting import until


class Point(Enum):
    """Where a refresh can be stopped."""

    BEFORE_BANK = auto()
    AT_BANK = auto()
    BEFORE_RESPONSE = auto()


class StoppedRefreshes:
    """The refreshes that are stopped at one point."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self._arrived = 0
        self._may_continue: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait(self) -> bool:
        """Wait here, and return whether to continue."""
        self._arrived += 1
        return await asyncio.shield(self._may_continue)

    async def arrived(self, count: int = 1) -> None:
        """Return when `count` refreshes have been stopped."""
        await until(f"{count} refreshes {self.point.name.lower()}", lambda: self._arrived >= count)

    def release(self) -> None:
        """Let all of them continue."""
        self._end(may_continue=True)

    def disconnect(self) -> None:
        """Close their connections. What the bank has done is not undone."""
        self._end(may_continue=False)

    def _end(self, *, may_continue: bool) -> None:
        if not self._may_continue.done():
            self._may_continue.set_result(may_continue)


class Gate:
    """Forwards token requests, each on a connection of its own."""

    def __init__(self, bank_url: str) -> None:
        target = urlsplit(bank_url)
        self._bank = (target.hostname or "", target.port or 0)
        self._stopped: list[StoppedRefreshes] = []
        self._delay: Callable[[], float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen during the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/connect/token"
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def stopping_at(self, point: Point) -> AsyncIterator[StoppedRefreshes]:
        """Stop each refresh at `point` during the block. Those that were not disconnected continue afterwards."""
        stopped = StoppedRefreshes(point)
        self._stopped.append(stopped)
        try:
            yield stopped
        finally:
            self._stopped.remove(stopped)
            stopped.release()

    @contextlib.contextmanager
    def delaying(self, delay: Callable[[], float]) -> Iterator[None]:
        """Delay each refresh by `delay()` seconds at each point."""
        self._delay = delay
        try:
            yield
        finally:
            self._delay = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await self._forward(reader, writer)
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_message(reader)
        if not await self._reach(Point.BEFORE_BANK):
            return
        from_bank, to_bank = await asyncio.open_connection(*self._bank)
        try:
            to_bank.write(request)
            await to_bank.drain()
            if not await self._reach(Point.AT_BANK):
                await _read_message(from_bank)
                return
            response = await _read_message(from_bank)
        finally:
            to_bank.close()
        if await self._reach(Point.BEFORE_RESPONSE):
            writer.write(response)
            await writer.drain()

    async def _reach(self, point: Point) -> bool:
        """Wait at a point, and return whether to continue."""
        if self._delay is not None:
            await asyncio.sleep(self._delay())
        for stopped in list(self._stopped):
            if stopped.point is point and not await stopped.wait():
                return False
        return True


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message, or less if its sender disconnects."""
    read = b""
    try:
        read = await reader.readuntil(b"\r\n\r\n")
        for line in read.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return read + await reader.readexactly(int(value))
        return read + await reader.read()
    except asyncio.IncompleteReadError as broken:
        return read + broken.partial
