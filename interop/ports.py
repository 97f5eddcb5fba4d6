"""Free TCP ports."""

import socket


def free_port() -> int:
    """Return a port that is free at the time of the call."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
