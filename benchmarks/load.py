"""A load generator: a number of connections, each of which sends one request after another.

It runs in the process of the benchmarks, so its own cost only affects the requests per second.
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
    """The result of a load. Latencies are in seconds, in ascending order."""

    seconds: float
    latencies: Sequence[float]
    failures: int
    """Responses with a status other than 2xx, and lost connections."""

    @property
    def requests(self) -> int:
        """How many requests got a response."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds. `share` is between 0 and 1."""
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
    """Send POST requests to the URLs in turn until `seconds` have passed or `requests` were sent.

    All URLs must be on the same server.
    """
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
    def __init__(self, requests: Iterator[bytes], until: float, limit: int | None) -> None:
        self._requests = requests
        self._until = until
        self._left = math.inf if limit is None else limit
        self.latencies: list[float] = []
        self.failures = 0

    def next(self) -> bytes | None:
        """Return the next request, or None at the end."""
        if self._left <= 0 or time.perf_counter() >= self._until:
            return None
        self._left -= 1
        return next(self._requests)


class _Connection(asyncio.Protocol):
    """One connection. The parser calls its `on_` method."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Pass the data to the parser."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Record the response, and send the next request."""
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        if not 200 <= self._parser.get_status_code() < 300:
            self._run.failures += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record a failure if the connection ended too early."""
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
