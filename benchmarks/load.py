"""A load generator: so many connections, each with one request under way, until the time is over.

It runs in the process of the benchmarks, so what it costs is in nobody's figures but the requests per second.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import cast
from urllib.parse import urlsplit

import httptools

QUERY = (
    b'{"query":"query ListBankAccounts { user { id bankAccounts { name currentBalance } } }",'
    b'"variables":null,"operationName":"ListBankAccounts"}'
)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. Latencies are in seconds, the shortest first."""

    seconds: float
    latencies: Sequence[float]
    failures: int
    """Answers with another status than 2xx, and connections that were lost."""

    @property
    def requests(self) -> int:
        """How many were answered, well or not."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def milliseconds(self, share: float) -> float:
        """Return within how many milliseconds that share of the requests was answered."""
        return self.latencies[min(len(self.latencies) - 1, math.floor(share * len(self.latencies)))] * 1000


async def put_load(
    urls: Sequence[str],
    authorization: str,
    *,
    connections: int,
    seconds: float = math.inf,
    requests: int | None = None,
    body: bytes = QUERY,
) -> Load:
    """POST to the addresses in turn, all of one server, until so many seconds are over or so many requests are made."""
    parts = [urlsplit(url) for url in urls]
    host, port = parts[0].hostname or "", parts[0].port or 80
    heads = [
        f"POST {part.path} HTTP/1.1\r\nHost: {part.netloc}\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for part in parts
    ]
    run = _Run(cycle(heads), time.perf_counter() + seconds, requests)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = [(await loop.create_connection(lambda: _Connection(run), host, port))[1] for _ in range(connections)]
    await asyncio.gather(*(client.ended for client in clients))
    return Load(time.perf_counter() - began, sorted(run.latencies), run.failures)


class _Run:
    def __init__(self, requests: Iterator[bytes], until: float, most: int | None) -> None:
        self._requests = requests
        self._until = until
        self._left = math.inf if most is None else most
        self.latencies: list[float] = []
        self.failures = 0

    def next(self) -> bytes | None:
        """Return the next request, or None at the end."""
        if self._left <= 0 or time.perf_counter() >= self._until:
            return None
        self._left -= 1
        return next(self._requests)


class _Connection(asyncio.Protocol):
    """One of the connections; its `on_` method is what the parser calls."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Parse it."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Note the answer, and send the next request."""
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        if not 200 <= self._parser.get_status_code() < 300:
            self._run.failures += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come."""
        if not self.ended.done():
            self._run.failures += 1
            self.ended.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        request = self._run.next()
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)
