"""Opening a TCP connection to a name with several addresses: Happy Eyeballs (RFC 8305), which uvloop does not have.

The name is resolved for each connection, so a change is followed as connections grow old.
"""

import asyncio
import socket
from collections import deque
from itertools import chain, zip_longest
from typing import Any

# RFC 8305, section 5: the head start that each address has over the next one.
_HEAD_START = 0.25
Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def connected_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address that answers. Raises OSError when none does."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[Address] = [(family, address) for family, _, _, _, address in found]
    # As a rule there is one, and no race.
    return await (connect_to(*addresses[0]) if len(addresses) == 1 else connect_first(interleaved(addresses)))


def interleaved(addresses: list[Address]) -> list[Address]:
    """Let the families take turns, beginning with that of the first address (RFC 8305, section 4)."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


async def connect_first(addresses: list[Address]) -> socket.socket:
    """Try one address after another, each with a head start over the next, until one answers."""
    waiting = deque(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    error: BaseException = OSError("the name has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(connect_to(*waiting.popleft())))
            done, running = await asyncio.wait(
                running, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winners = [task for task in done if task.exception() is None]
            if winners:
                running.update(winners[1:])
                return winners[0].result()
            error = next((task.exception() or error for task in done), error)
        raise error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_loser)


def _close_loser(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def connect_to(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    """Return a socket that is connected to that address."""
    tcp = socket.socket(family, socket.SOCK_STREAM)
    try:
        tcp.setblocking(False)
        # A request is one write: there is nothing to wait for.
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(tcp, address)
    except BaseException:
        tcp.close()
        raise
    return tcp
