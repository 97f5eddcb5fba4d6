"""A gate in front of the bank's token endpoint, where a refresh can be stopped at a named point.

It passes bytes on unchanged. Replicas reach the token endpoint through it, so chaos knows where a refresh stands
without a hook in the broker: the request has arrived, the bank is at work on it, the bank's answer is on its way.
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

    BEFORE_THE_BANK = auto()
    AT_THE_BANK = auto()
    BEFORE_THE_ANSWER = auto()


class Hold:
    """The refreshes that are stopped at one point."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self._arrived = 0
        self._passes: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait(self) -> bool:
        """Stop here. Returns whether to go on."""
        self._arrived += 1
        return await asyncio.shield(self._passes)

    async def arrived(self, count: int = 1) -> None:
        """Return when `count` refreshes have been stopped."""
        await until(f"{count} refreshes {self.point.name.lower()}", lambda: self._arrived >= count)

    def release(self) -> None:
        """Let all of them go on."""
        self._end(passes=True)

    def drop(self) -> None:
        """Cut their connections; what the bank has done stays done."""
        self._end(passes=False)

    def _end(self, *, passes: bool) -> None:
        if not self._passes.done():
            self._passes.set_result(passes)


class Gate:
    """Passes token requests on, each on a connection of its own."""

    def __init__(self, bank_url: str) -> None:
        target = urlsplit(bank_url)
        self._bank = (target.hostname or "", target.port or 0)
        self._holds: list[Hold] = []
        self._delay: Callable[[], float] | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for as long as the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/connect/token"
        try:
            yield
        finally:
            server.close()
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)

    @asynccontextmanager
    async def holding(self, point: Point) -> AsyncIterator[Hold]:
        """Stop each refresh at `point`. The end of the block lets go on what was not dropped."""
        hold = Hold(point)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            self._holds.remove(hold)
            hold.release()

    @contextlib.contextmanager
    def delaying(self, delay: Callable[[], float]) -> Iterator[None]:
        """Take `delay()` seconds at each point."""
        self._delay = delay
        try:
            yield
        finally:
            self._delay = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await self._carry(reader, writer)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_message(reader)
        if not await self._may_pass(Point.BEFORE_THE_BANK):
            return
        from_bank, to_bank = await asyncio.open_connection(*self._bank)
        try:
            to_bank.write(request)
            await to_bank.drain()
            if not await self._may_pass(Point.AT_THE_BANK):
                await _read_message(from_bank)
                return
            answer = await _read_message(from_bank)
        finally:
            to_bank.close()
        if await self._may_pass(Point.BEFORE_THE_ANSWER):
            writer.write(answer)
            await writer.drain()

    async def _may_pass(self, point: Point) -> bool:
        if self._delay is not None:
            await asyncio.sleep(self._delay())
        for hold in list(self._holds):
            if hold.point is point and not await hold.wait():
                return False
        return True


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message; less, where its sender breaks off."""
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
