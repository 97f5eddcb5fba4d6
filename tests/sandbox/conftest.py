import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from joserfc.jwk import RSAKey

from sandbox.client import SandboxClient
from tests.support.bank import running_bank


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
    with running_bank(client_jwks_file) as url:
        yield url


@pytest.fixture
async def bank(sandbox_url: str) -> AsyncIterator[SandboxClient]:
    """A client of a sandbox in its initial state."""
    async with httpx.AsyncClient(base_url=sandbox_url, timeout=10) as http:
        bank = SandboxClient(http)
        await bank.control("reset")
        yield bank
