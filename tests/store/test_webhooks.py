import asyncio

from pydantic import SecretStr
from sqlalchemy import text

from app.base.encryption import KeyRing
from app.store.postgresql.database import Database
from app.store.webhooks import count_webhooks, insert_webhook
from tests.support.eventually import eventually


async def test_the_count_includes_webhooks_that_are_being_added_concurrently(
    database: Database, key_ring: KeyRing
) -> None:
    async def count(tenant: str) -> int:
        async with database.transaction() as transaction:
            return await count_webhooks(transaction, tenant)

    async def somebody_waits() -> bool:
        async with database.transaction() as transaction:
            found = await transaction.execute(
                text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'")
            )
            return found.first() is not None

    async with database.transaction() as transaction:
        assert await count_webhooks(transaction, "default") == 0
        second = asyncio.create_task(count("default"))
        await eventually(somebody_waits)
        assert await count("another") == 0
        await insert_webhook(
            transaction,
            key_ring,
            webhook_id="whk_1",
            tenant="default",
            url="https://hooks.example.com/",
            events=[],
            secret=SecretStr("whsec_"),
        )
    assert await second == 1
