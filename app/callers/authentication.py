"""Who calls, and what it may do."""

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import SecretStr

from app.base.cache import ExpiringCache
from app.base.hashing import constant_time_equal, sha256_hex
from app.callers.api_keys import KEY_MARK, parse_api_key
from app.callers.permissions import Permission
from app.callers.service_tokens import ServiceTokens
from app.callers.throttle import FailureThrottle
from app.core import Core
from app.errors import PermissionDenied, UnauthorizedCaller
from app.observability.metrics import CACHE_MISSES
from app.store.callers import find_usable_key, hashing_key
from app.store.last_used import LastUsedTimes

_MEMORY_SIZE = 10_000
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated internal service. `key_id` is None where it came with a service token."""

    id: str
    tenant: str
    name: str
    permissions: frozenset[str]
    key_id: str | None
    expires_at: float | None

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the caller was granted `permission`."""
        if permission not in self.permissions:
            raise PermissionDenied(f"this call needs the permission `{permission}`, which {self.name} was not granted")


class CallerAuthenticator:
    """Turns an `Authorization` header into a Caller."""

    def __init__(
        self, core: Core, usage: LastUsedTimes, *, cache_ttl: float, service_tokens: ServiceTokens | None = None
    ) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._usage = usage
        self._service_tokens = service_tokens
        self._brake = FailureThrottle(core.clock)
        self._hashing_key: SecretStr | None = None
        # By digest, so that a memory dump's keys are no keys.
        self._known: ExpiringCache[bytes, Caller] = ExpiringCache(
            lifetime=cache_ttl, size=_MEMORY_SIZE, clock=core.clock
        )

    async def authenticate(self, authorization: str) -> Caller:
        """Return the caller whose API key or service token this is. Raises UnauthorizedCaller."""
        scheme, _, credential = authorization.partition(" ")
        # More blanks than one make no other credential (RFC 9110 section 11.4).
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise UnauthorizedCaller("send the API key as `Authorization: Bearer <key>`")
        known_by = hashlib.sha256(credential.encode()).digest()
        caller = self._known.get(known_by)
        if caller is None or self._is_past(caller):
            try:
                caller = await self._known.load(known_by, lambda: self._look_up(credential))
            except UnauthorizedCaller:
                await self._brake.hold()
                raise
        if caller.key_id is not None:
            self._usage.key_used(caller.key_id)
        return caller

    @property
    def remembered(self) -> int:
        """How many callers' credentials are remembered."""
        return len(self._known)

    def forget(self, caller_id: str) -> None:
        """Look a caller's keys up again at their next use."""
        self._known.invalidate_where(lambda caller: caller.id == caller_id)

    def forget_all(self) -> None:
        """Look every key up again."""
        self._known.invalidate_all()

    def require_unexpired(self, caller: Caller) -> None:
        """Raise UnauthorizedCaller if the caller's credential has expired."""
        if self._is_past(caller):
            raise UnauthorizedCaller("the credential has expired")

    def _is_past(self, caller: Caller) -> bool:
        return caller.expires_at is not None and caller.expires_at <= self._clock.monotonic()

    async def _look_up(self, credential: str) -> Caller:
        CACHE_MISSES.labels(cache="callers").inc()
        if self._service_tokens is None or credential.startswith(KEY_MARK):
            return await self._look_up_key(credential)
        found = await self._service_tokens.validate(SecretStr(credential))
        caller_id = _name_of(found.subject)
        expires_at = self._clock.monotonic() + found.expires_in
        return Caller(caller_id, found.tenant, caller_id, found.permissions & set(Permission), None, expires_at)

    async def _look_up_key(self, credential: str) -> Caller:
        api_key = parse_api_key(credential)
        if api_key is None:
            raise _unknown_key()
        async with self._database.transaction() as transaction:
            key = self._hashing_key or await hashing_key(transaction, self._key_ring)
            found = await find_usable_key(transaction, api_key.prefix)
        # Not before: a new one that was not committed is nobody's.
        self._hashing_key = key
        if found is None:
            raise _unknown_key()
        record, key_id, keyed_hash, seconds_left = found
        if not constant_time_equal(keyed_hash, api_key.keyed_hash(key)):
            raise _unknown_key()
        expires_at = None if seconds_left is None else self._clock.monotonic() + seconds_left
        return Caller(record.id, record.tenant, record.name, frozenset(record.permissions), key_id, expires_at)


def _name_of(subject: str) -> str:
    """Name the subject of a service token, in characters that are safe everywhere, and no two alike."""
    name = quote(subject, safe=":@/")
    # Quoting leaves no asterisk.
    return f"svc_{name}" if len(name) <= _MAX_NAME else f"svc_*{sha256_hex(subject)}"


def _unknown_key() -> UnauthorizedCaller:
    return UnauthorizedCaller("the API key is unknown, expired or revoked")
