"""Provides access tokens: from the cache, refreshed if they are about to expire, replaced if the bank rejected them."""

from app.core import Core
from app.errors import BankError, DatabaseUnavailable
from app.refresh.connection_cache import CachedConnection, ConnectionCache, UsableToken, refresh_margin, token_of
from app.refresh.coordinator import RefreshCoordinator
from app.store.enums import RefreshCause
from app.store.last_used import LastUsedTimes


class AccessTokens:
    """Returns access tokens, and decides when one must be refreshed first."""

    def __init__(
        self, core: Core, *, connections: ConnectionCache, refreshes: RefreshCoordinator, last_used: LastUsedTimes
    ) -> None:
        self._last_used = last_used
        self._clock = core.clock
        self._connections = connections
        self._refreshes = refreshes

    async def get(self, tenant: str, connection_id: str, *, min_ttl: float = 0.0) -> UsableToken:
        """Return a token that is valid for at least `min_ttl` seconds, refreshed if necessary.

        Raises ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, ReauthorizationRequired, BankError or
        DatabaseUnavailable. If a refresh fails, a token that is still valid is returned nevertheless.
        """
        cached = self._connections.get_cached(tenant, connection_id)
        if cached is not None and self._clock.monotonic() + min_ttl < cached.fresh_until:
            self._last_used.connection_used(connection_id)
            return token_of(cached)
        connection = await self._connections.get(tenant, connection_id)
        token = token_of(connection)
        if not self._is_valid_for(token, min_ttl):
            connection = await self._refresh_if_possible(tenant, connection)
            token = token_of(connection)
        self._last_used.connection_used(connection_id)
        return token

    async def replace_rejected(self, tenant: str, rejected: UsableToken) -> UsableToken | None:
        """Return the successor of a token that the bank has rejected; None if refreshing it again would not help.

        However many requests report the same version, it is refreshed once. Raises the errors of `get`.
        """
        connection: CachedConnection | None = await self._connections.get(tenant, rejected.connection_id)
        if connection is not None and connection.row.connection.version <= rejected.version:
            connection = await self._refreshes.refresh_once(
                tenant, rejected.connection_id, rejected.version, RefreshCause.REJECTED
            )
        return token_of(connection) if connection is not None else None

    async def refresh(self, tenant: str, connection_id: str, version: int | None) -> None:
        """Refresh on request; with `version`, only if that is still the current one. Raises the errors of `get`."""
        # Only the tenant's own entry: it must not be able to empty another tenant's cache.
        if self._connections.get_cached(tenant, connection_id) is not None:
            self.invalidate(connection_id)
        connection = await self._connections.get(tenant, connection_id)
        current = connection.row.connection.version
        if version is None or version == current:
            await self._refreshes.refresh_once(tenant, connection_id, current, RefreshCause.REQUESTED)

    def record_acceptance(self, token: UsableToken) -> None:
        """Note that the bank accepted a token that replaced a rejected one."""
        self._refreshes.record_acceptance(token)

    @property
    def cached(self) -> int:
        """How many connections are cached."""
        return len(self._connections)

    def invalidate(self, connection_id: str) -> None:
        """Read the connection again at its next use."""
        self._connections.invalidate(connection_id)

    def invalidate_all(self) -> None:
        """Read every connection again."""
        self._connections.invalidate_all()

    def _is_valid_for(self, token: UsableToken, min_ttl: float) -> bool:
        margin = refresh_margin(token)
        wanted = max(margin, min(min_ttl, token.lifetime - margin))
        return token.valid_until - self._clock.monotonic() >= wanted

    async def _refresh_if_possible(self, tenant: str, connection: CachedConnection) -> CachedConnection:
        """Refresh; if that fails, keep a token that is still valid."""
        row = connection.row.connection
        is_valid = token_of(connection).valid_until > self._clock.monotonic()
        if is_valid and not row.refreshable:
            return connection
        try:
            return await self._refreshes.refresh_once(tenant, row.id, row.version, RefreshCause.EXPIRED) or connection
        except (BankError, DatabaseUnavailable):
            if token_of(connection).valid_until > self._clock.monotonic():
                return connection
            raise
