"""The sandbox bank, served over HTTP."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.client import SandboxClient
from sandbox.command import create_server
from sandbox.settings import SandboxSettings


@contextmanager
def running_bank(client_jwks_file: Path | None = None) -> Iterator[str]:
    """Run a sandbox on a free port, and yield its URL, which is also its issuer."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = create_server(SandboxSettings(issuer=url, client_jwks_file=client_jwks_file))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


async def refreshes_at(bank: SandboxClient) -> int:
    """Count the successful refreshes."""
    return (await bank.ledger()).totals.token_requests.get("refresh_token", {}).get("ok", 0)


async def refresh_requests_at(bank: SandboxClient) -> dict[str, int]:
    """Return how often the bank responded to refreshes with which result."""
    return (await bank.ledger()).totals.token_requests.get("refresh_token", {})


async def living_families_at(bank: SandboxClient) -> int:
    """Count the grants whose tokens are valid."""
    return sum(family.alive for family in (await bank.ledger()).families)
