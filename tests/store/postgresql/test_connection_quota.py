"""The requests of one tenant cannot use all pooled connections."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.postgresql.connection_quota import ConnectionQuota
from app.store.postgresql.database import Database, ForTenant
from tests.support.eventually import eventually


async def test_a_tenant_that_uses_up_its_share_delays_no_other_tenant(database_url: SecretStr) -> None:
    database = Database(database_url, pool_size=4)
    holding: list[int] = []
    may_end = asyncio.Event()

    async def occupy(tenant: str) -> None:
        async with database.transaction(ForTenant(tenant)) as transaction:
            await transaction.execute(text("SELECT 1"))
            holding.append(1)
            await may_end.wait()

    wild = [asyncio.create_task(occupy("wild")) for _ in range(20)]

    async def are_at_work() -> bool:
        return len(holding) == 2

    await eventually(are_at_work)
    async with asyncio.timeout(20):
        for requester in (ForTenant("other"), None):
            async with database.transaction(requester) as transaction:
                await transaction.execute(text("SELECT 1"))
    assert len(holding) == 2
    may_end.set()
    await asyncio.gather(*wild)
    assert len(holding) == 20
    await database.close()


async def test_a_request_that_waits_too_long_for_its_tenants_share_is_refused() -> None:
    quota = ConnectionQuota(1, timeout=0.01)
    async with quota.connection("a"):
        with pytest.raises(DatabaseUnavailable, match="this tenant"):
            async with quota.connection("a"):
                pass
    async with quota.connection("a"):
        pass
