"""Callers, their API keys, and the key under which API keys are hashed."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.base.encryption import AssociatedData, KeyRing, generate_key
from app.store.postgresql.database import Transaction
from app.store.postgresql.notifications import caller_topic, notify
from app.store.postgresql.pagination import Page, fetch_page
from app.store.postgresql.records import columns_of, fetch_all, to_record
from app.store.tables import api_keys, callers, hashing_keys

_HASHING_KEY = "api_keys"


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """An internal service that may call the broker."""

    id: str
    tenant: str
    name: str
    permissions: list[str]
    created_at: datetime
    disabled_at: datetime | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"caller_id": self.id}


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key without its secret."""

    id: str
    tenant: str
    caller_id: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"caller_id": self.caller_id, "key_id": self.id}


_CALLER_COLUMNS = columns_of(CallerRecord, callers)
_KEY_COLUMNS = columns_of(ApiKeyRecord, api_keys)


async def hashing_key(transaction: Transaction, key_ring: KeyRing) -> SecretStr:
    """Return the key under which API keys are hashed. Generates and stores it, encrypted, at the first use."""
    binding = AssociatedData("hashing_keys", "key", _HASHING_KEY)
    await transaction.execute(
        upsert(hashing_keys)
        .values(name=_HASHING_KEY, key=key_ring.encrypt(generate_key(), binding))
        .on_conflict_do_nothing()
    )
    query = select(hashing_keys.c.key).where(hashing_keys.c.name == _HASHING_KEY)
    return key_ring.decrypt((await transaction.execute(query)).scalar_one(), binding)


async def insert_caller(
    transaction: Transaction, *, caller_id: str, tenant: str, name: str, permissions: list[str]
) -> CallerRecord | None:
    """Insert a caller. Return None if the tenant already has a caller with this name."""
    row = (
        await transaction.execute(
            upsert(callers)
            .values(id=caller_id, tenant=tenant, name=name, permissions=permissions)
            .on_conflict_do_nothing(index_elements=["tenant", "name"])
            .returning(*_CALLER_COLUMNS)
        )
    ).first()
    return to_record(CallerRecord, row) if row else None


async def find_callers(transaction: Transaction, reference: str, *, tenant: str | None) -> list[CallerRecord]:
    """Return the caller with this id, or else all callers with this name, at most one for each tenant."""
    query = select(*_CALLER_COLUMNS).where(or_(callers.c.id == reference, callers.c.name == reference))
    if tenant is not None:
        query = query.where(callers.c.tenant == tenant)
    found = await fetch_all(transaction, query.order_by(callers.c.tenant), CallerRecord)
    return [caller for caller in found if caller.id == reference] or found


async def list_callers(
    transaction: Transaction, *, tenant: str | None, limit: int, cursor: str | None
) -> Page[CallerRecord]:
    """Return the callers of a tenant, or of all tenants, newest first."""
    query = select(*_CALLER_COLUMNS)
    if tenant is not None:
        query = query.where(callers.c.tenant == tenant)
    return await fetch_page(transaction, query, callers, CallerRecord, limit=limit, cursor=cursor)


async def disable_caller(transaction: Transaction, caller_id: str) -> None:
    """Disable a caller: all its keys are rejected from now on."""
    disabled_at = func.coalesce(callers.c.disabled_at, func.now())
    await transaction.execute(update(callers).where(callers.c.id == caller_id).values(disabled_at=disabled_at))
    await notify(transaction, caller_topic(caller_id))


async def insert_api_key(
    transaction: Transaction,
    *,
    key_id: str,
    caller: CallerRecord,
    prefix: str,
    keyed_hash: str,
    expires_at: datetime | None,
) -> ApiKeyRecord:
    """Insert an API key, of which only the hash is stored."""
    row = (
        await transaction.execute(
            insert(api_keys)
            .values(
                id=key_id,
                tenant=caller.tenant,
                caller_id=caller.id,
                prefix=prefix,
                keyed_hash=keyed_hash,
                expires_at=expires_at,
            )
            .returning(*_KEY_COLUMNS)
        )
    ).one()
    return to_record(ApiKeyRecord, row)


async def list_api_keys(
    transaction: Transaction, caller_id: str, *, limit: int, cursor: str | None
) -> Page[ApiKeyRecord]:
    """Return a caller's keys, oldest first."""
    query = select(*_KEY_COLUMNS).where(api_keys.c.caller_id == caller_id)
    return await fetch_page(transaction, query, api_keys, ApiKeyRecord, limit=limit, cursor=cursor, newest_first=False)


async def count_usable_keys(transaction: Transaction, caller_id: str) -> int:
    """Count the keys of a caller that are neither revoked nor expired."""
    is_alive = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
    query = select(func.count()).where(api_keys.c.caller_id == caller_id, api_keys.c.revoked_at.is_(None), is_alive)
    return int((await transaction.execute(query)).scalar_one())


async def revoke_api_key(transaction: Transaction, caller_id: str, key_id: str) -> ApiKeyRecord | None:
    """Revoke a key on all replicas. Return None if the caller has no such key."""
    is_key = and_(api_keys.c.id == key_id, api_keys.c.caller_id == caller_id)
    row = (await transaction.execute(select(*_KEY_COLUMNS).where(is_key).with_for_update())).first()
    if row is not None and row.revoked_at is None:
        statement = update(api_keys).where(is_key).values(revoked_at=func.now()).returning(*_KEY_COLUMNS)
        row = (await transaction.execute(statement)).first()
        # Not if it was already revoked: each notification makes all replicas read the caller's keys again.
        await notify(transaction, caller_topic(caller_id))
    return to_record(ApiKeyRecord, row) if row else None


async def find_usable_key(transaction: Transaction, prefix: str) -> tuple[CallerRecord, str, str, float | None] | None:
    """Return the caller, key id, keyed hash and seconds to live of a key that is neither revoked nor expired."""
    query = (
        select(
            *_CALLER_COLUMNS,
            api_keys.c.id.label("key_id"),
            api_keys.c.keyed_hash,
            func.extract("epoch", api_keys.c.expires_at - func.now()).label("seconds_left"),
        )
        .join_from(api_keys, callers)
        .where(
            api_keys.c.prefix == prefix,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
            callers.c.disabled_at.is_(None),
        )
    )
    row = (await transaction.execute(query)).first()
    if row is None:
        return None
    return (
        to_record(CallerRecord, row),
        row.key_id,
        row.keyed_hash,
        None if row.seconds_left is None else float(row.seconds_left),
    )


async def is_key_usable(transaction: Transaction, key_id: str) -> bool:
    """Return whether a key is neither revoked nor expired, and its caller not disabled."""
    query = (
        select(api_keys.c.id)
        .join_from(api_keys, callers)
        .where(
            api_keys.c.id == key_id,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
            callers.c.disabled_at.is_(None),
        )
    )
    return (await transaction.execute(query)).first() is not None


async def record_key_use(transaction: Transaction, key_ids: list[str]) -> None:
    """Set the time at which these keys were last used."""
    await transaction.execute(update(api_keys).where(api_keys.c.id.in_(key_ids)).values(last_used_at=func.now()))
