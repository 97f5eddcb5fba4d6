"""Resolves the host names of webhooks in threads of their own, because callers choose these names.

A name whose server never answers occupies its thread for many seconds, even after the request for it has timed out. The
few threads that the event loop uses for its own name resolution are shared by everything in the broker, including the
requests to the bank.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

# More than the deliveries and the new webhook of one tenant can occupy with names that time out after ten seconds.
_MAX_THREADS = 32


class WebhookNameResolver(AbstractResolver):
    """Resolves names without a cache. Raises OSError for an unknown name, UnicodeError for an invalid one."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MAX_THREADS, "webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses that a name currently resolves to."""
        resolve = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        addresses = await asyncio.get_running_loop().run_in_executor(self._threads, resolve)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in addresses
        ]

    async def close(self) -> None:
        """Start no more lookups."""
        self._threads.shutdown(wait=False, cancel_futures=True)
