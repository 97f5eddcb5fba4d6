"""One tenant's requests leave some of the connections to the others."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.postgresql.connection_quota import Shares, work_for
from app.store.postgresql.database import Database
from tests.support.eventually import eventually


async def test_a_tenant_that_takes_all_it_can_keeps_nobody_else_waiting(database_url: SecretStr) -> None:
    database = Database(database_url, pool_size=4)
    holding: list[int] = []
    may_end = asyncio.Event()

    async def hold(tenant: str | None) -> None:
        work_for(tenant)
        async with database.transaction() as transaction:
            await transaction.execute(text("SELECT 1"))
            holding.append(1)
            await may_end.wait()

    wild = [asyncio.create_task(hold("wild")) for _ in range(20)]

    async def are_at_work() -> bool:
        return len(holding) == 2

    await eventually(are_at_work)
    async with asyncio.timeout(5):
        for tenant in ("other", None):
            work_for(tenant)
            async with database.transaction() as transaction:
                await transaction.execute(text("SELECT 1"))
    assert len(holding) == 2
    may_end.set()
    await asyncio.gather(*wild)
    assert len(holding) == 20
    await database.close()


async def test_who_waits_too_long_for_its_own_tenant_is_told() -> None:
    shares = Shares(1, patience=0.01)
    work_for("a")
    async with shares.held():
        with pytest.raises(DatabaseUnavailable, match="this tenant"):
            async with shares.held():
                pass
    async with shares.held():
        pass
    work_for(None)
