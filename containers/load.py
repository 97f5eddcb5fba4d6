"""A continuous load of queries, during which replicas are restarted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from app.demo.broker import Broker
from app.demo.expectations import Unexpected
from app.demo.queries import accounts_query
from containers.waiting import TIMEOUT_SECONDS, wait_until

_THREADS = 4
_PAUSE_SECONDS = 0.02


class Load:
    """Sends queries from several threads, counts the successful ones and collects the failures."""

    def __init__(self, broker: Broker, connection_id: str) -> None:
        self._broker = broker
        self._connection_id = connection_id
        self._stopping = threading.Event()
        self.succeeded = 0
        self.failures: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send queries for the duration of the block."""
        threads = [threading.Thread(target=self._send_queries, daemon=True) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(TIMEOUT_SECONDS)

    def wait_for_queries(self, count: int = 50) -> None:
        """Return once `count` more queries have ended. Raises Unexpected after a timeout."""
        target = self._ended() + count
        wait_until(lambda: self._ended() >= target, f"{count} more queries end", pause_seconds=0.05)

    def require_no_failure(self) -> None:
        """Raise Unexpected if a query failed."""
        if self.failures:
            raise Unexpected("0 failed queries", f"{len(self.failures)}, the first: {self.failures[0]}")

    def _ended(self) -> int:
        return self.succeeded + len(self.failures)

    def _send_queries(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            failure = self._send_query()
            if failure is None:
                self.succeeded += 1
            else:
                self.failures.append(failure)

    def _send_query(self) -> str | None:
        """Send a query, and return why it failed, or None."""
        try:
            response = self._broker.query_without_showing(self._connection_id, accounts_query())
            succeeded = response.status_code == 200 and "errors" not in response.json()
        except (httpx.HTTPError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None if succeeded else f"{response.status_code} {response.text[:300]}"
