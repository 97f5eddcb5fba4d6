"""Authenticates callers by API key or service token."""

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import SecretStr

from app.base.cache import ExpiringCache
from app.base.hashing import constant_time_equal, sha256_hex
from app.callers.api_keys import KEY_PREFIX, parse_api_key
from app.callers.failure_throttle import FailureThrottle, ThrottleLimits
from app.callers.permissions import Permission
from app.callers.service_tokens import ServiceTokens
from app.core import Core
from app.errors import PermissionDenied, UnauthorizedCaller
from app.observability.metrics import CACHE_MISSES
from app.store.callers import find_usable_key, hashing_key
from app.store.last_used import LastUsedTimes

_CACHE_SIZE = 10_000
_MAX_NAME_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated internal service. `key_id` is None if it used a service token.

    `expires_at` is a time of the monotonic clock.
    """

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
        self,
        core: Core,
        last_used: LastUsedTimes,
        *,
        cache_ttl: float,
        service_tokens: ServiceTokens | None = None,
        throttle_limits: ThrottleLimits = ThrottleLimits(),
    ) -> None:
        """Without `service_tokens`, only API keys are accepted. `cache_ttl`: seconds."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._last_used = last_used
        self._service_tokens = service_tokens
        self._failure_throttle = FailureThrottle(core.clock, throttle_limits)
        self._hashing_key: SecretStr | None = None
        # By digest, so that a memory dump does not reveal credentials.
        self._cache: ExpiringCache[bytes, Caller] = ExpiringCache(
            lifetime=cache_ttl, size=_CACHE_SIZE, clock=core.clock
        )

    async def authenticate(self, authorization: str) -> Caller:
        """Return the caller whose API key or service token this is. Raises UnauthorizedCaller."""
        scheme, _, credential = authorization.partition(" ")
        # Any number of spaces may precede the credential (RFC 9110 section 11.4).
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise UnauthorizedCaller("send the API key as `Authorization: Bearer <key>`")
        digest = hashlib.sha256(credential.encode()).digest()
        caller = self._cache.get(digest)
        if caller is None or self._has_expired(caller):
            try:
                caller = await self._cache.load(digest, lambda: self._look_up(credential))
            except UnauthorizedCaller:
                await self._failure_throttle.delay()
                raise
        if caller.key_id is not None:
            self._last_used.key_used(caller.key_id)
        return caller

    @property
    def cached(self) -> int:
        """How many credentials are cached."""
        return len(self._cache)

    def invalidate(self, caller_id: str) -> None:
        """Look up a caller's keys again at their next use."""
        self._cache.invalidate_where(lambda caller: caller.id == caller_id)

    def invalidate_all(self) -> None:
        """Look up every key again at its next use."""
        self._cache.invalidate_all()

    def require_unexpired(self, caller: Caller) -> None:
        """Raise UnauthorizedCaller if the caller's credential has expired."""
        if self._has_expired(caller):
            raise UnauthorizedCaller("the credential has expired")

    def _has_expired(self, caller: Caller) -> bool:
        return caller.expires_at is not None and caller.expires_at <= self._clock.monotonic()

    async def _look_up(self, credential: str) -> Caller:
        CACHE_MISSES.labels(cache="callers").inc()
        if self._service_tokens is None or credential.startswith(KEY_PREFIX):
            return await self._look_up_key(credential)
        identity = await self._service_tokens.validate(SecretStr(credential))
        caller_id = _caller_id_of(identity.subject)
        expires_at = self._clock.monotonic() + identity.expires_in
        return Caller(caller_id, identity.tenant, caller_id, identity.permissions & set(Permission), None, expires_at)

    async def _look_up_key(self, credential: str) -> Caller:
        api_key = parse_api_key(credential)
        if api_key is None:
            raise _unknown_key()
        async with self._database.transaction() as transaction:
            key = self._hashing_key or await hashing_key(transaction, self._key_ring)
            found = await find_usable_key(transaction, api_key.prefix)
        # Only after the commit: a new hashing key that was not committed must not be used.
        self._hashing_key = key
        if found is None:
            raise _unknown_key()
        record, key_id, keyed_hash, seconds_left = found
        if not constant_time_equal(keyed_hash, api_key.keyed_hash(key)):
            raise _unknown_key()
        expires_at = None if seconds_left is None else self._clock.monotonic() + seconds_left
        return Caller(record.id, record.tenant, record.name, frozenset(record.permissions), key_id, expires_at)


def _caller_id_of(subject: str) -> str:
    """Return the caller id for the subject of a service token: unique, and of characters that are safe everywhere."""
    name = quote(subject, safe=":@/")
    # Quoting leaves no asterisk, so the two forms cannot collide.
    return f"svc_{name}" if len(name) <= _MAX_NAME_LENGTH else f"svc_*{sha256_hex(subject)}"


def _unknown_key() -> UnauthorizedCaller:
    return UnauthorizedCaller("the API key is unknown, expired or revoked")
