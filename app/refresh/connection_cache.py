"""Caches connections: their status, and their access token in the form in which a query sends it."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import SecretStr

from app.bank.own_client import OwnClient
from app.base.cache import ExpiringCache
from app.base.strict_json import is_storable_in_postgresql
from app.core import Core
from app.errors import ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, ReauthorizationRequired
from app.http_client import HeaderLines, header_lines
from app.observability.metrics import CACHE_MISSES
from app.oidc.dpop import ProofKey
from app.store.connections import Connection, ConnectionWithTokens, get_connection_with_tokens
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import ForTenant

# A token with less than this left is refreshed before it is used, in seconds (docs/refresh.md).
REFRESH_MARGIN = 30.0
MAX_CACHED_CONNECTIONS = 20_000


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An access token that the bank should accept.

    `lifetime` is in seconds; `valid_until` is a time of this process's monotonic clock. If the lifetime is unknown,
    they are 0 and infinite, and `expires_at` is None.
    """

    connection_id: str
    version: int
    scopes: list[str]
    expires_at: datetime | None
    lifetime: int
    valid_until: float
    access_token: SecretStr = field(repr=False)
    authorization: HeaderLines = field(repr=False)
    proof_key: ProofKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CachedConnection:
    """A connection as it was read, and its access token, prepared once for all queries that use it."""

    row: ConnectionWithTokens
    """Without the tokens: a query needs only the access token, which is in `token`."""
    token: UsableToken | None
    tenant: str
    fresh_until: float
    """Until this time of the process's monotonic clock the token can be used without a refresh."""


class ConnectionCache:
    """Keeps connections in memory for a short time, each for its own tenant."""

    def __init__(self, core: Core, own_client: OwnClient, *, cache_ttl: float) -> None:
        """`cache_ttl`: for how many seconds an entry is used, unless it is invalidated before."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._own_client = own_client
        self._clock = core.clock
        self._cache: ExpiringCache[str, CachedConnection] = ExpiringCache(
            lifetime=cache_ttl, size=MAX_CACHED_CONNECTIONS, clock=core.clock
        )

    def __len__(self) -> int:
        return len(self._cache)

    def get_cached(self, tenant: str, connection_id: str) -> CachedConnection | None:
        """Return the cached entry of a tenant's connection. Another tenant's connection does not exist."""
        cached = self._cache.get(connection_id)
        return cached if cached is not None and cached.tenant == tenant else None

    async def get(self, tenant: str, connection_id: str) -> CachedConnection:
        """Return an active connection.

        Raises ConnectionNotFound, BankClientMismatch and the errors of `require_active`.
        """
        cached = self.get_cached(tenant, connection_id)
        if cached is None:
            # The scope makes another tenant's connection take as long as one that does not exist.
            cached = await self._cache.load(connection_id, lambda: self._read(tenant, connection_id), scope=tenant)
        require_active(cached.row.connection)
        self._own_client.require_connection(cached.row.connection.bank_client)
        return cached

    def invalidate(self, connection_id: str) -> None:
        """Read the connection again at its next use."""
        self._cache.invalidate(connection_id)

    def invalidate_all(self) -> None:
        """Read every connection again."""
        self._cache.invalidate_all()

    async def _read(self, tenant: str, connection_id: str) -> CachedConnection:
        if not is_storable_in_postgresql(connection_id):
            raise ConnectionNotFound
        CACHE_MISSES.labels(cache="connections").inc()
        read_at = self._clock.monotonic()
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            row = await get_connection_with_tokens(transaction, self._key_ring, tenant, connection_id)
        if row is None:
            raise ConnectionNotFound
        is_active = row.connection.status is ConnectionStatus.ACTIVE
        token = _usable_token(row, read_at) if is_active else None
        is_usable = is_active and row.connection.bank_client == self._own_client.identity
        fresh_until = token.valid_until - refresh_margin(token) if token and is_usable else 0.0
        return CachedConnection(replace(row, tokens=None), token, tenant, fresh_until)


def refresh_margin(token: UsableToken) -> float:
    """Return how many seconds a token must have left to be used without a refresh."""
    # A short-lived token would otherwise be refreshed at each use.
    return min(REFRESH_MARGIN, token.lifetime / 2)


def token_of(cached: CachedConnection) -> UsableToken:
    """Return the token of an active connection, which always has one."""
    assert cached.token is not None
    return cached.token


def require_active(connection: Connection) -> None:
    """Raise ConnectionNotReady, ConnectionRevoked or ReauthorizationRequired unless the connection is active."""
    status = connection.status
    if status is ConnectionStatus.PENDING_CONFIRMATION:
        raise ConnectionNotReady("the link has not been confirmed yet; use POST /v1/sessions/{id}/confirm")
    if status is ConnectionStatus.REVOKED:
        raise ConnectionRevoked("the connection was disconnected; link the account again")
    if status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        raise ReauthorizationRequired(
            f"the user must consent again ({connection.reauthorization_reason}); "
            "start a session with this connection_id"
        )


def _usable_token(row: ConnectionWithTokens, read_at: float) -> UsableToken | None:
    if row.tokens is None:
        return None
    access_token, proof_key = row.tokens.access_token, row.tokens.proof_key
    scheme = "Bearer" if proof_key is None else "DPoP"
    return UsableToken(
        connection_id=row.connection.id,
        version=row.connection.version,
        scopes=row.connection.scopes,
        expires_at=row.connection.access_token_expires_at,
        lifetime=row.connection.access_token_lifetime,
        valid_until=read_at + row.seconds_left,
        access_token=access_token,
        authorization=header_lines([(b"authorization", f"{scheme} {access_token.get_secret_value()}".encode())]),
        proof_key=None if proof_key is None else ProofKey.from_private_jwk(proof_key),
    )
