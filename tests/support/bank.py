"""The sandbox bank, running over real HTTP."""

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
    """Run a sandbox on a free port and yield its address, which is its issuer too."""
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
    """Count the refreshes that the bank carried out."""
    return (await bank.ledger()).totals.token_requests.get("refresh_token", {}).get("ok", 0)


async def refresh_requests_at(bank: SandboxClient) -> dict[str, int]:
    """Return how the bank answered refreshes, and how often."""
    return (await bank.ledger()).totals.token_requests.get("refresh_token", {})


async def living_families_at(bank: SandboxClient) -> int:
    """Count the consents whose tokens work."""
    return sum(family.alive for family in (await bank.ledger()).families)
