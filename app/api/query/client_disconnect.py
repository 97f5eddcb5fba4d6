"""A caller that goes away before its answer is complete: nobody waits for the bank any more."""

import asyncio

from starlette.types import Receive

# Most queries are answered before, and cost no watching. Seconds.
_FIRST_MOMENTS = 0.1
# What is counted and logged of it: no status of HTTP's, but the one that gateways write for the same.
CLIENT_CLOSED_REQUEST = 499


class Departures:
    """Those of all requests of one event loop, which share a timer."""

    def __init__(self) -> None:
        self._unwatched: set[Departure] = set()
        self._is_looking = False

    def of(self, receive: Receive) -> "Departure":
        """Return the departure of the request that the current task serves."""
        loop = asyncio.get_running_loop()
        departure = Departure(receive, asyncio.current_task(loop), loop.time(), self._unwatched)
        self._unwatched.add(departure)
        if not self._is_looking:
            self._look_later(loop)
        return departure

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = True
        loop.call_later(_FIRST_MOMENTS, self._watch_the_slow, loop)

    def _watch_the_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch those whose first moments are over."""
        latest = loop.time() - _FIRST_MOMENTS
        for slow in [one for one in self._unwatched if one.began <= latest]:
            slow.watch()
        self._is_looking = False
        if self._unwatched:
            self._look_later(loop)


class Departure:
    """Ends its block where the request's caller goes away. The request's body must have been read."""

    __slots__ = ("_receive", "_serving", "_unwatched", "_watching", "began", "has_happened")

    def __init__(
        self, receive: Receive, serving: "asyncio.Task[object] | None", began: float, unwatched: "set[Departure]"
    ) -> None:
        self._receive = receive
        self._serving = serving
        self._unwatched = unwatched
        self._watching: asyncio.Task[None] | None = None
        self.began = began
        self.has_happened = False

    def watch(self) -> None:
        """Watch from now on."""
        self._unwatched.discard(self)
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._wait())

    def __enter__(self) -> "Departure":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._unwatched.discard(self)
        if self._watching is not None:
            # The server reports the end of an answer as a departure too.
            self._watching.cancel()
        if kind is not asyncio.CancelledError or not self.has_happened:
            return False
        assert self._serving is not None
        self._serving.uncancel()
        return True

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.has_happened = True
        assert self._serving is not None
        self._serving.cancel()
