"""Webhooks: where a tenant wants to be told of events."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Row, func, insert, select, update

from app.base.encryption import AssociatedData, Ciphertext, KeyRing
from app.errors import NotFound
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.pagination import Page, fetch_page
from app.store.postgresql.records import columns_of, fetch_first, to_record
from app.store.tables import webhooks as table


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address of a receiver. Without `events`, it wants all of them."""

    id: str
    tenant: str
    url: str
    events: list[str]
    created_at: datetime
    previous_secret_until: datetime | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """What the audit log names it by."""
        return {"webhook_id": self.id}


_is_not_deleted = table.c.deleted_at.is_(None)
_WEBHOOKS = select(*columns_of(Webhook, table)).where(_is_not_deleted)


async def insert_webhook(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    webhook_id: str,
    tenant: str,
    url: str,
    events: list[str],
    secret: SecretStr,
) -> Webhook:
    """Insert a webhook and return it."""
    encrypted = key_ring.encrypt(secret, _associated_data("secret", webhook_id))
    statement = insert(table).values(id=webhook_id, tenant=tenant, url=url, events=events, secret=encrypted)
    row = (await transaction.execute(statement.returning(*columns_of(Webhook, table)))).one()
    return to_record(Webhook, row)


async def get_webhook(transaction: Transaction, tenant: str, webhook_id: str) -> Webhook | None:
    """Return a tenant's webhook."""
    query = _WEBHOOKS.where(table.c.id == webhook_id, table.c.tenant == tenant)
    return await fetch_first(transaction, query, Webhook)


async def count_webhooks(transaction: Transaction, tenant: str) -> int:
    """Count a tenant's webhooks; until the transaction ends, nobody else counts them in order to add one."""
    turn = func.hashtextextended(f"webhooks of {tenant}", 0)
    await transaction.execute(select(func.pg_advisory_xact_lock(turn)))
    query = select(func.count()).select_from(table).where(table.c.tenant == tenant, _is_not_deleted)
    return int((await transaction.execute(query)).scalar_one())


async def list_webhooks(transaction: Transaction, tenant: str, *, limit: int, cursor: str | None) -> Page[Webhook]:
    """Return a tenant's webhooks, newest first."""
    query = _WEBHOOKS.where(table.c.tenant == tenant)
    return await fetch_page(transaction, query, table, Webhook, limit=limit, cursor=cursor)


async def delete_webhook(transaction: Transaction, webhook_id: str) -> None:
    """Send nothing there any more. The row goes later, when no transaction can still add to its queues."""
    await transaction.execute(
        update(table)
        .where(table.c.id == webhook_id)
        .values(deleted_at=func.now(), secret=None, previous_secret=None, previous_secret_until=None)
    )


async def replace_secret(
    transaction: Transaction, key_ring: KeyRing, webhook_id: str, secret: SecretStr, *, overlap: float
) -> None:
    """Sign with `secret` from now on, and for `overlap` seconds with the present one beside it. Raises NotFound."""
    query = select(table.c.secret).where(table.c.id == webhook_id).with_for_update()
    present: Ciphertext | None = (await transaction.execute(query)).scalar_one_or_none()
    if present is None:
        raise NotFound("there is no such webhook any more", code="webhook_not_found")
    old = key_ring.decrypt(present, _associated_data("secret", webhook_id))
    await transaction.execute(
        update(table)
        .where(table.c.id == webhook_id)
        .values(
            secret=key_ring.encrypt(secret, _associated_data("secret", webhook_id)),
            previous_secret=key_ring.encrypt(old, _associated_data("previous_secret", webhook_id)),
            previous_secret_until=seconds_from_now(overlap),
        )
    )


def signing_secrets(key_ring: KeyRing, row: Row[Any]) -> list[SecretStr]:
    """Return what a webhook's deliveries are signed with, the newest secret first. Raises DecryptionError."""
    found = [key_ring.decrypt(row.secret, _associated_data("secret", row.id))]
    if row.is_rotating:
        found.append(key_ring.decrypt(row.previous_secret, _associated_data("previous_secret", row.id)))
    return found


def _associated_data(column: str, webhook_id: str) -> AssociatedData:
    return AssociatedData("webhooks", column, webhook_id)
