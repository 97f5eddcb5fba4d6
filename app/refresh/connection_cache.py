"""What is remembered of connections: their state, and their token, ready to be used."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import SecretStr

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

# Product: a token with less than this is refreshed before it is used. Seconds.
MARGIN = 30.0
MOST_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An access token that the bank should accept. `good_until` is on this process's monotonic clock."""

    connection_id: str
    version: int
    scopes: list[str]
    expires_at: datetime | None
    lifetime: int
    good_until: float
    access_token: SecretStr = field(repr=False)
    authorization: HeaderLines = field(repr=False)
    proof_key: ProofKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CachedConnection:
    """What was read of a connection, and its token made ready, once for all queries that use it."""

    held: ConnectionWithTokens
    """Without the tokens: of them, a query needs one, and in a form of its own."""
    token: UsableToken | None
    tenant: str
    ready_until: float
    """Until when, on this process's monotonic clock, the token can be given out without a further look."""


class ConnectionCache:
    """Remembers connections for a while, each for its own tenant."""

    def __init__(self, core: Core, *, cache_ttl: float) -> None:
        """`cache_ttl`: the seconds for which what was read is believed, unless it is forgotten before."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._clock = core.clock
        self._memory: ExpiringCache[str, CachedConnection] = ExpiringCache(
            lifetime=cache_ttl, size=MOST_REMEMBERED, clock=core.clock
        )

    def __len__(self) -> int:
        return len(self._memory)

    def remembered(self, tenant: str, connection_id: str) -> CachedConnection | None:
        """Return what memory has of a tenant's connection."""
        known = self._memory.get(connection_id)
        # Another tenant's is like one that nobody has.
        return known if known is not None and known.tenant == tenant else None

    async def get(self, tenant: str, connection_id: str) -> CachedConnection:
        """Return a connection that can be used. Raises ConnectionNotFound and the errors of `require_usable`."""
        known = self.remembered(tenant, connection_id)
        # Neither time nor memory tells another tenant's from one that nobody has.
        if known is None:
            known = await self._memory.load(connection_id, lambda: self._read(tenant, connection_id), scope=tenant)
        require_usable(known.held.connection)
        return known

    def forget(self, connection_id: str) -> None:
        """Read the connection again at its next use."""
        self._memory.invalidate(connection_id)

    def forget_all(self) -> None:
        """Read every connection again."""
        self._memory.invalidate_all()

    async def _read(self, tenant: str, connection_id: str) -> CachedConnection:
        if not is_storable_in_postgresql(connection_id):
            raise ConnectionNotFound
        CACHE_MISSES.labels(cache="connections").inc()
        read_at = self._clock.monotonic()
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            held = await get_connection_with_tokens(transaction, self._key_ring, tenant, connection_id)
        if held is None:
            raise ConnectionNotFound
        token = _usable(held, read_at)
        is_active = held.connection.status is ConnectionStatus.ACTIVE
        ready_until = token.good_until - margin_of(token) if token and is_active else 0.0
        return CachedConnection(replace(held, tokens=None), token, tenant, ready_until)


def margin_of(token: UsableToken) -> float:
    """Return how much of its life a token must have left to be used, in seconds."""
    # A token of short life would otherwise never have enough, and each use would cost the user a refresh.
    return min(MARGIN, token.lifetime / 2)


def token_of(known: CachedConnection) -> UsableToken:
    """Return the token of a connection that can be used."""
    # Whatever has passed `require_usable` has tokens.
    assert known.token is not None
    return known.token


def require_usable(connection: Connection) -> None:
    """Raise ConnectionNotReady, ConnectionRevoked or ReauthorizationRequired unless the connection is active."""
    status = connection.status
    if status is ConnectionStatus.PENDING_CONFIRMATION:
        raise ConnectionNotReady("the link awaits its confirmation; POST /v1/sessions/{id}/confirm")
    if status is ConnectionStatus.REVOKED:
        raise ConnectionRevoked("the connection was disconnected; link the account anew")
    if status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        raise ReauthorizationRequired(
            f"the user must consent again ({connection.reauthorization_reason}); "
            "start a session with this connection_id"
        )


def _usable(held: ConnectionWithTokens, read_at: float) -> UsableToken | None:
    if held.tokens is None:
        return None
    access_token, proof_key = held.tokens.access_token, held.tokens.proof_key
    scheme = "Bearer" if proof_key is None else "DPoP"
    return UsableToken(
        connection_id=held.connection.id,
        version=held.connection.version,
        scopes=held.connection.scopes,
        expires_at=held.connection.access_token_expires_at,
        lifetime=held.connection.access_token_lifetime,
        good_until=read_at + held.seconds_left,
        access_token=access_token,
        authorization=header_lines([(b"authorization", f"{scheme} {access_token.get_secret_value()}".encode())]),
        proof_key=None if proof_key is None else ProofKey.from_private_jwk(proof_key),
    )
