"""Creates and disables callers, and creates and revokes their API keys."""

from datetime import datetime

from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.base.strict_json import is_storable_in_postgresql
from app.callers.api_keys import new_api_key
from app.callers.permissions import Permission
from app.errors import Conflict, InvalidRequest, NotFound
from app.store import audit
from app.store.callers import (
    ApiKeyRecord,
    CallerRecord,
    count_usable_keys,
    disable_caller,
    find_callers,
    hashing_key,
    insert_api_key,
    insert_caller,
    list_api_keys,
    list_callers,
    revoke_api_key,
)
from app.store.postgresql.database import Database, Requester, Transaction
from app.store.postgresql.pagination import Page

DEFAULT_TENANT = "default"
MAX_KEYS = 100
_MAX_NAME_LENGTH = 255
_ID_PREFIX = "cal_"


class CallerRegistry:
    """Manages callers and their keys. `actor` is the id that the audit log names.

    A `reference` is a caller's id or name. Without a tenant, a name that several tenants use raises Conflict.
    """

    def __init__(self, database: Database, key_ring: KeyRing, *, max_keys: int = MAX_KEYS) -> None:
        """`max_keys`: how many usable keys a caller may have."""
        self._database = database
        self._key_ring = key_ring
        self._max_keys = max_keys

    async def create(
        self, *, tenant: str, name: str, permissions: list[str], actor: str, requester: Requester | None = None
    ) -> tuple[CallerRecord, SecretStr]:
        """Create a caller with a first key, and return the key this once. Raises InvalidRequest or Conflict."""
        if not 0 < len(name) <= _MAX_NAME_LENGTH or not is_storable_in_postgresql(name):
            raise InvalidRequest(f"a caller's name has 1 to {_MAX_NAME_LENGTH} characters")
        if name.startswith(_ID_PREFIX):
            raise InvalidRequest(f"a caller's name must not begin with {_ID_PREFIX}, as ids do")
        allowed = [permission.value for permission in Permission]
        if unknown := sorted(set(permissions) - set(allowed)):
            raise InvalidRequest(f"unknown permission {unknown[0]!r}; there are {', '.join(allowed)}")
        async with self._database.transaction(requester) as transaction:
            caller = await insert_caller(
                transaction,
                caller_id=new_id("cal"),
                tenant=tenant,
                name=name,
                permissions=[permission for permission in allowed if permission in permissions],
            )
            if caller is None:
                raise caller_exists(tenant, name)
            await audit.record(transaction, "caller.created", of=caller, actor=actor, name=name)
            _, secret = await self._add_key(transaction, caller, expires_at=None, actor=actor)
        return caller, secret

    async def find(
        self, reference: str, *, tenant: str | None = None, requester: Requester | None = None
    ) -> CallerRecord:
        """Return a caller by id or name. Raises NotFound."""
        async with self._database.transaction(requester) as transaction:
            return await _existing(transaction, reference, tenant)

    async def list_callers(
        self,
        *,
        tenant: str | None = None,
        limit: int = 10_000,
        cursor: str | None = None,
        requester: Requester | None = None,
    ) -> Page[CallerRecord]:
        """Return the callers of a tenant, or of all tenants, newest first."""
        async with self._database.transaction(requester) as transaction:
            return await list_callers(transaction, tenant=tenant, limit=limit, cursor=cursor)

    async def disable(
        self, reference: str, *, tenant: str | None = None, actor: str, requester: Requester | None = None
    ) -> CallerRecord:
        """Disable a caller: its keys are rejected from now on. Raises NotFound."""
        async with self._database.transaction(requester) as transaction:
            caller = await _existing(transaction, reference, tenant)
            await disable_caller(transaction, caller.id)
            await audit.record(transaction, "caller.disabled", of=caller, actor=actor)
            return await _existing(transaction, caller.id, tenant)

    async def create_key(
        self,
        reference: str,
        *,
        tenant: str | None = None,
        expires_at: datetime | None = None,
        actor: str,
        requester: Requester | None = None,
    ) -> tuple[ApiKeyRecord, SecretStr]:
        """Create another key. Raises NotFound, or Conflict if there are too many."""
        async with self._database.transaction(requester) as transaction:
            caller = await _existing(transaction, reference, tenant)
            if await count_usable_keys(transaction, caller.id) >= self._max_keys:
                raise too_many_keys(self._max_keys)
            return await self._add_key(transaction, caller, expires_at=expires_at, actor=actor)

    async def list_keys(
        self,
        reference: str,
        *,
        tenant: str | None = None,
        limit: int = 10_000,
        cursor: str | None = None,
        requester: Requester | None = None,
    ) -> Page[ApiKeyRecord]:
        """Return a caller's keys, oldest first. Raises NotFound."""
        async with self._database.transaction(requester) as transaction:
            caller = await _existing(transaction, reference, tenant)
            return await list_api_keys(transaction, caller.id, limit=limit, cursor=cursor)

    async def revoke_key(
        self, reference: str, key_id: str, *, tenant: str | None = None, actor: str, requester: Requester | None = None
    ) -> ApiKeyRecord:
        """Revoke a key: it is rejected from now on. Raises NotFound."""
        async with self._database.transaction(requester) as transaction:
            caller = await _existing(transaction, reference, tenant)
            revoked = await revoke_api_key(transaction, caller.id, key_id)
            if revoked is None:
                raise key_not_found(caller.name, key_id)
            await audit.record(transaction, "key.revoked", of=revoked, actor=actor)
        return revoked

    async def _add_key(
        self, transaction: Transaction, caller: CallerRecord, *, expires_at: datetime | None, actor: str
    ) -> tuple[ApiKeyRecord, SecretStr]:
        api_key = new_api_key()
        record = await insert_api_key(
            transaction,
            key_id=new_id("key"),
            caller=caller,
            prefix=api_key.prefix,
            keyed_hash=api_key.keyed_hash(await hashing_key(transaction, self._key_ring)),
            expires_at=expires_at,
        )
        await audit.record(transaction, "key.created", of=record, actor=actor)
        return record, api_key.secret


async def _existing(transaction: Transaction, reference: str, tenant: str | None) -> CallerRecord:
    callers = await find_callers(transaction, reference, tenant=tenant)
    if not callers:
        raise caller_not_found(reference)
    if len(callers) > 1:
        tenants = ", ".join(caller.tenant for caller in callers)
        raise Conflict(f"the tenants {tenants} each have a caller {reference}; choose one with --tenant, or use its id")
    return callers[0]


def caller_not_found(reference: str) -> NotFound:
    """Return the error for the id or name of a caller that does not exist."""
    return NotFound(f"there is no caller {reference}", code="caller_not_found")


def caller_exists(tenant: str, name: str) -> Conflict:
    """Return the error for a name that another caller of the tenant has."""
    return Conflict(f"the tenant {tenant} has a caller named {name}", code="caller_exists")


def key_not_found(caller_name: str, key_id: str) -> NotFound:
    """Return the error for the id of a key that the caller does not have."""
    return NotFound(f"{caller_name} has no key {key_id}", code="key_not_found")


def too_many_keys(limit: int) -> Conflict:
    """Return the error for a caller that has all the keys it may have."""
    return Conflict(f"a caller may have {limit} usable keys; revoke one", code="too_many_keys")
