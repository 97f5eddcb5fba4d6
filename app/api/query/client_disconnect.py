"""Cancels a query whose caller disconnects before the response is complete: nobody would read it."""

import asyncio

from starlette.types import Receive

# Most queries are answered within this time, in seconds, and cost no watching.
_UNWATCHED_SECONDS = 0.1
# Recorded in metrics and logs. It is no HTTP status, but the one that gateways log for the same.
CLIENT_CLOSED_REQUEST = 499


class DisconnectWatcher:
    """Watches the requests of one event loop with a single timer."""

    def __init__(self) -> None:
        self._unwatched: set[ClientDisconnect] = set()
        self._is_scheduled = False

    def watch(self, receive: Receive) -> "ClientDisconnect":
        """Return a context that is left when the caller of the current task's request disconnects."""
        loop = asyncio.get_running_loop()
        disconnect = ClientDisconnect(receive, asyncio.current_task(loop), loop.time(), self._unwatched)
        self._unwatched.add(disconnect)
        if not self._is_scheduled:
            self._schedule(loop)
        return disconnect

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = True
        loop.call_later(_UNWATCHED_SECONDS, self._watch_slow_requests, loop)

    def _watch_slow_requests(self, loop: asyncio.AbstractEventLoop) -> None:
        latest_start = loop.time() - _UNWATCHED_SECONDS
        for slow in [disconnect for disconnect in self._unwatched if disconnect.started_at <= latest_start]:
            slow.watch_now()
        self._is_scheduled = False
        if self._unwatched:
            self._schedule(loop)


class ClientDisconnect:
    """Cancels its block if the caller disconnects. The request's body must have been read before."""

    __slots__ = ("_receive", "_task", "_unwatched", "_watching", "has_happened", "started_at")

    def __init__(
        self,
        receive: Receive,
        task: "asyncio.Task[object] | None",
        started_at: float,
        unwatched: "set[ClientDisconnect]",
    ) -> None:
        self._receive = receive
        self._task = task
        self._unwatched = unwatched
        self._watching: asyncio.Task[None] | None = None
        self.started_at = started_at
        self.has_happened = False

    def watch_now(self) -> None:
        """Start to watch."""
        self._unwatched.discard(self)
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._wait())

    def __enter__(self) -> "ClientDisconnect":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._unwatched.discard(self)
        if self._watching is not None:
            # The server also reports the end of a response as a disconnect.
            self._watching.cancel()
        if kind is not asyncio.CancelledError or not self.has_happened:
            return False
        assert self._task is not None
        self._task.uncancel()
        return True

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.has_happened = True
        assert self._task is not None
        self._task.cancel()
