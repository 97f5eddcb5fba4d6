"""Ports of this machine that nothing else uses."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from app.demo.expectations import Unexpected

HOST = "127.0.0.1"
_MOST_TRIES = 20


@contextmanager
def chosen_ports(preferred: Sequence[int]) -> Iterator[list[tuple[int, str | None]]]:
    """Yield for each preferred port itself, or a free one and why it had to be another.

    What is to listen there starts seconds later, and another demo that chooses its ports until then must not take the
    same. So the UDP port of each number, which nothing here uses, is held as a sign for as long as the block.
    """
    with ExitStack() as signs:
        with ExitStack() as stack:
            # All are held until the last is chosen, so that they differ.
            chosen = [_choose(port, stack, signs) for port in preferred]
        yield chosen


def choose_ports(preferred: Sequence[int]) -> list[tuple[int, str | None]]:
    """Return what `chosen_ports` would yield, for those who use the ports at once and share the machine with nobody."""
    with chosen_ports(preferred) as chosen:
        return chosen


def _choose(port: int, stack: ExitStack, signs: ExitStack) -> tuple[int, str | None]:
    try:
        return _take(port, stack, signs), None
    except OSError as error:
        obstacle = os.strerror(error.errno) if error.errno else str(error)
    for _ in range(_MOST_TRIES):
        try:
            return _take(0, stack, signs), obstacle
        except OSError as error:
            last = str(error)
    raise Unexpected(f"a free port of {HOST}", last)


def _take(port: int, stack: ExitStack, signs: ExitStack) -> int:
    taken: int = stack.enter_context(socket.create_server((HOST, port))).getsockname()[1]
    sign = signs.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sign.bind((HOST, taken))
    return taken
