import pytest

from app.store.connections import Connection
from sandbox.client import SandboxClient
from tests.support.rows import Rows


@pytest.fixture
async def expired(rows: Rows, bank: SandboxClient) -> Connection:
    return await rows.link(bank, seconds_left=-1)


@pytest.fixture
async def live(rows: Rows, bank: SandboxClient) -> Connection:
    return await rows.link(bank)
