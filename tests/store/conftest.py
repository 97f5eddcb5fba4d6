import pytest

from app.base.encryption import KeyRing
from app.store.postgresql.database import Database
from tests.support.refresh_protocol import RefreshProtocol
from tests.support.rows import Rows


@pytest.fixture
async def protocol(database: Database, key_ring: KeyRing, rows: Rows) -> RefreshProtocol:
    connection = await rows.insert(seconds_left=-1)
    return RefreshProtocol(database, key_ring, connection.bank_client, connection.id)
