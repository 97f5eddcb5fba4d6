"""Finds unused ports of this machine."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from app.demo.expectations import Unexpected

HOST = "127.0.0.1"
_MAX_TRIES = 20


@contextmanager
def chosen_ports(preferred: Sequence[int]) -> Iterator[list[tuple[int, str | None]]]:
    """Yield for each preferred port the port to use, with the reason if it is another one.

    A server that is started later listens on the port, and another demo must not choose the same one until then. So the
    UDP port of the same number, which nothing here uses, is reserved until the block ends.
    """
    with ExitStack() as reservations:
        with ExitStack() as sockets:
            # All ports stay open until the last one is chosen, so that they differ.
            chosen = [_choose(port, sockets, reservations) for port in preferred]
        yield chosen


def choose_ports(preferred: Sequence[int]) -> list[tuple[int, str | None]]:
    """Return what `chosen_ports` yields, without a reservation: for servers that are started at once."""
    with chosen_ports(preferred) as chosen:
        return chosen


def _choose(port: int, sockets: ExitStack, reservations: ExitStack) -> tuple[int, str | None]:
    try:
        return _open(port, sockets, reservations), None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
    for _ in range(_MAX_TRIES):
        try:
            return _open(0, sockets, reservations), reason
        except OSError as error:
            last_error = str(error)
    raise Unexpected(f"a free port of {HOST}", last_error)


def _open(port: int, sockets: ExitStack, reservations: ExitStack) -> int:
    opened: int = sockets.enter_context(socket.create_server((HOST, port))).getsockname()[1]
    reservation = reservations.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    reservation.bind((HOST, opened))
    return opened
