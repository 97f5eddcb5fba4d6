"""Looking up the names of webhooks, which their owners choose, in threads that nothing else waits for.

A name whose server never answers holds its thread for many seconds, whoever has given up on it. The event loop's own
look-ups share a few threads with all that the broker does, the way to the bank included.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

# More than the deliveries and the new webhook of one tenant keep busy with names that are given up in ten seconds.
_MOST_AT_ONCE = 32


class WebhookNameResolver(AbstractResolver):
    """Resolves names, each time anew. Raises OSError for what is not known, UnicodeError for what can be no name."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, "webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses that a name stands for at the moment."""
        look_up = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(where[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        """Begin no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)
