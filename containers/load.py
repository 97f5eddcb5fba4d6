"""Internal services that go on asking, whatever happens to the replicas."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from app.demo.broker import Broker
from app.demo.expectations import Unexpected
from app.demo.queries import accounts_query

_SERVICES = 4
_PAUSE_SECONDS = 0.02
_LONGEST_WAIT = 60.0


class Load:
    """Queries by several services at once, and what became of each."""

    def __init__(self, broker: Broker, connection_id: str) -> None:
        self._broker = broker
        self._connection_id = connection_id
        self._is_over = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask for as long as the block."""
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(_SERVICES)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join(_LONGEST_WAIT)

    def wait_for_more(self, count: int = 50) -> None:
        """Return once so many more queries have ended. Raises Unexpected where they do not."""
        wanted = self._ended() + count
        deadline = time.monotonic() + _LONGEST_WAIT
        while self._ended() < wanted:
            if time.monotonic() > deadline:
                raise Unexpected(f"{count} more answers", f"not so many within {_LONGEST_WAIT:g} s")
            time.sleep(0.05)

    def require_no_failure(self) -> None:
        """Raise Unexpected where a query failed."""
        if self.failures:
            raise Unexpected("0 failed queries", f"{len(self.failures)}, the first: {self.failures[0]}")

    def _ended(self) -> int:
        return self.answered + len(self.failures)

    def _ask(self) -> None:
        while not self._is_over.is_set():
            failure = self._failure()
            if failure is None:
                self.answered += 1
            else:
                self.failures.append(failure)
            time.sleep(_PAUSE_SECONDS)

    def _failure(self) -> str | None:
        try:
            response = self._broker.query_unseen(self._connection_id, accounts_query())
            is_answered = response.status_code == 200 and "errors" not in response.json()
        except (httpx.HTTPError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None if is_answered else f"{response.status_code} {response.text[:300]}"
