"""Ports of this machine that nothing else uses."""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from app.demo.expectations import Unexpected

HOST = "127.0.0.1"


def choose_ports(preferred: Sequence[int]) -> list[tuple[int, str | None]]:
    """Return for each preferred port itself, or a free one and why it had to be another."""
    with ExitStack() as stack:
        chosen: list[tuple[int, str | None]] = []
        # All are held until the last is chosen, so that they differ.
        for port in preferred:
            obstacle = None
            try:
                held = stack.enter_context(socket.create_server((HOST, port)))
            except OSError as error:
                obstacle = os.strerror(error.errno) if error.errno else str(error)
                held = stack.enter_context(_any_port())
            chosen.append((held.getsockname()[1], obstacle))
        return chosen


def _any_port() -> socket.socket:
    try:
        return socket.create_server((HOST, 0))
    except OSError as error:
        raise Unexpected(f"a free port of {HOST}", str(error)) from error
