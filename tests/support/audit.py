"""Audit events as tests write and verify them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, text

from app.store import audit
from app.store.audit_chain import Head, verify
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import audit_events
from tests.support.rows import TENANT

_SECONDS_PER_DAY = 86_400


def days_ago(days: float) -> Any:
    return seconds_from_now(-days * _SECONDS_PER_DAY)


async def insert_event(database: Database, days: float, tenant: str = TENANT) -> None:
    """Insert an audit event that occurred `days` ago."""
    async with database.transaction() as transaction:
        values = {"tenant": tenant, "actor": "cal_1", "action": "a", "detail": {"days": days}}
        await transaction.execute(insert(audit_events).values(**values, occurred_at=days_ago(days)))


async def record_event(transaction: Transaction, tenant: str = "default", action: str = "a", **detail: Any) -> None:
    await audit.record(transaction, action, tenant=tenant, actor="cal_1", connection_id="con_1", **detail)


async def record_events(database: Database, count: int, tenant: str = "default") -> None:
    for number in range(count):
        async with database.transaction() as transaction:
            await record_event(transaction, tenant, f"action {number}", number=number)


async def fault_of(database: Database, *, noted: Sequence[Head] = ()) -> tuple[str | None, int | None]:
    """Return the fault and its position of the one broken chain, or Nones if there is none."""
    broken = [chain for chain in await verify(database, noted=noted) if chain.fault is not None]
    assert len(broken) <= 1
    return (broken[0].fault, broken[0].fault_position) if broken else (None, None)


async def head_of(database: Database, tenant: str = "default") -> Head:
    async with database.transaction() as transaction:
        found = await transaction.execute(
            text("SELECT tenant, position, hash FROM audit_heads WHERE tenant = :tenant"), {"tenant": tenant}
        )
        return Head(*found.one())
