import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from joserfc.jwk import RSAKey

from sandbox.client import SandboxClient
from sandbox.command import create_server
from sandbox.settings import SandboxSettings


@pytest.fixture(scope="session")
def client_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "client-key", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="session")
def client_jwks_file(client_key: RSAKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("client") / "jwks.json"
    file.write_text(json.dumps({"keys": [client_key.as_dict(private=False)]}))
    return file


@pytest.fixture(scope="session")
def sandbox_url(client_jwks_file: Path) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = create_server(SandboxSettings(issuer=url, client_jwks_file=client_jwks_file))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield url
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
async def bank(sandbox_url: str) -> AsyncIterator[SandboxClient]:
    """A sandbox in its start state."""
    async with httpx.AsyncClient(base_url=sandbox_url, timeout=10) as http:
        bank = SandboxClient(http)
        await bank.control("reset")
        yield bank
