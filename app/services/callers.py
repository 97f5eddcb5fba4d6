"""Who calls, and what it may do."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr

from app.clock import Clock
from app.encryption import KeyRing
from app.errors import PermissionDenied, UnauthorizedCaller
from app.randomness import same
from app.services.api_keys import parse_api_key
from app.services.memory import Memory
from app.services.usage import Usage
from app.store.callers import find_usable_key, hashing_key
from app.store.database import Database

_MEMORY_SIZE = 10_000


class Permission(StrEnum):
    """What a caller can be allowed."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    CONNECTIONS_READ = "connections:read"
    CONNECTIONS_WRITE = "connections:write"
    GRAPHQL_QUERY = "graphql:query"
    GRAPHQL_MUTATE = "graphql:mutate"
    TOKENS_READ = "tokens:read"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated internal service."""

    id: str
    tenant: str
    name: str
    permissions: frozenset[str]
    key_id: str
    expires_at: float | None

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the caller was granted `permission`."""
        if permission not in self.permissions:
            raise PermissionDenied(f"this call needs the permission `{permission}`, which {self.name} was not granted")


class CallerAuthenticator:
    """Turns an `Authorization` header into a Caller."""

    def __init__(self, database: Database, key_ring: KeyRing, usage: Usage, clock: Clock, *, cache_ttl: float) -> None:
        self._database = database
        self._key_ring = key_ring
        self._usage = usage
        self._clock = clock
        self._hashing_key: SecretStr | None = None
        # By digest, so that a memory dump's keys are no keys.
        self._known: Memory[bytes, Caller] = Memory(lifetime=cache_ttl, size=_MEMORY_SIZE, clock=clock)

    async def authenticate(self, authorization: str) -> Caller:
        """Return the caller whose key this is. Raises UnauthorizedCaller."""
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise UnauthorizedCaller("send the API key as `Authorization: Bearer <key>`")
        digest = hashlib.sha256(credential.encode()).digest()
        caller = self._known.get(digest)
        if caller is None:
            caller = await self._known.read(digest, lambda: self._look_up(credential.strip()))
        if caller.expires_at is not None and caller.expires_at <= self._clock.monotonic():
            raise _unknown_key()
        self._usage.key_used(caller.key_id)
        return caller

    def forget(self, caller_id: str) -> None:
        """Look a caller's keys up again at their next use."""
        self._known.forget_where(lambda caller: caller.id == caller_id)

    def forget_all(self) -> None:
        """Look every key up again."""
        self._known.forget_all()

    async def _look_up(self, credential: str) -> Caller:
        api_key = parse_api_key(credential)
        if api_key is None:
            raise _unknown_key()
        async with self._database.transaction() as transaction:
            if self._hashing_key is None:
                self._hashing_key = await hashing_key(transaction, self._key_ring)
            found = await find_usable_key(transaction, api_key.prefix)
        if found is None:
            raise _unknown_key()
        record, key_id, keyed_hash, seconds_left = found
        if not same(keyed_hash, api_key.keyed_hash(self._hashing_key)):
            raise _unknown_key()
        expires_at = None if seconds_left is None else self._clock.monotonic() + seconds_left
        return Caller(record.id, record.tenant, record.name, frozenset(record.permissions), key_id, expires_at)


def _unknown_key() -> UnauthorizedCaller:
    return UnauthorizedCaller("the API key is unknown, expired or revoked")
