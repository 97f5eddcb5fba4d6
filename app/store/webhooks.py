"""Webhooks: the addresses to which a tenant's events are sent."""

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
    """A receiver of events. If `events` is empty, it receives all of them."""

    id: str
    tenant: str
    url: str
    events: list[str]
    created_at: datetime
    previous_secret_until: datetime | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
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
    """Count a tenant's webhooks. Concurrent calls for the same tenant wait until the transaction ends."""
    lock = func.hashtextextended(f"webhooks of {tenant}", 0)
    await transaction.execute(select(func.pg_advisory_xact_lock(lock)))
    query = select(func.count()).select_from(table).where(table.c.tenant == tenant, _is_not_deleted)
    return int((await transaction.execute(query)).scalar_one())


async def list_webhooks(transaction: Transaction, tenant: str, *, limit: int, cursor: str | None) -> Page[Webhook]:
    """Return a tenant's webhooks, newest first."""
    query = _WEBHOOKS.where(table.c.tenant == tenant)
    return await fetch_page(transaction, query, table, Webhook, limit=limit, cursor=cursor)


async def delete_webhook(transaction: Transaction, webhook_id: str) -> None:
    """Mark a webhook as deleted and erase its secrets. The row is deleted when no transaction can use it any more."""
    await transaction.execute(
        update(table)
        .where(table.c.id == webhook_id)
        .values(deleted_at=func.now(), secret=None, previous_secret=None, previous_secret_until=None)
    )


async def replace_secret(
    transaction: Transaction, key_ring: KeyRing, webhook_id: str, secret: SecretStr, *, overlap: float
) -> None:
    """Replace the signing secret. The previous one remains valid for `overlap` seconds. Raises NotFound."""
    query = select(table.c.secret).where(table.c.id == webhook_id).with_for_update()
    current: Ciphertext | None = (await transaction.execute(query)).scalar_one_or_none()
    if current is None:
        raise NotFound("the webhook no longer exists", code="webhook_not_found")
    old = key_ring.decrypt(current, _associated_data("secret", webhook_id))
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
    """Return the secrets that a webhook's deliveries are signed with, newest first. Raises DecryptionError."""
    found = [key_ring.decrypt(row.secret, _associated_data("secret", row.id))]
    if row.is_rotating:
        found.append(key_ring.decrypt(row.previous_secret, _associated_data("previous_secret", row.id)))
    return found


def _associated_data(column: str, webhook_id: str) -> AssociatedData:
    return AssociatedData("webhooks", column, webhook_id)
