"""The access token for a call: given out, refreshed before, or replaced after the bank has refused it."""

from app.core import Core
from app.errors import BankError, DatabaseUnavailable
from app.refresh.connection_cache import CachedConnection, ConnectionCache, UsableToken, margin_of, token_of
from app.refresh.coordinator import RefreshCoordinator
from app.store.enums import RefreshCause
from app.store.last_used import LastUsedTimes


class AccessTokens:
    """Gives out access tokens, and knows when one must be refreshed first."""

    def __init__(
        self, core: Core, *, connections: ConnectionCache, refreshes: RefreshCoordinator, usage: LastUsedTimes
    ) -> None:
        self._usage = usage
        self._clock = core.clock
        self._connections = connections
        self._refreshes = refreshes

    async def usable(self, tenant: str, connection_id: str, *, min_ttl: float = 0.0) -> UsableToken:
        """Return a token with enough time left, refreshing it where needed.

        Raises ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, ReauthorizationRequired, BankError or
        DatabaseUnavailable. While the bank cannot refresh, a token that is still good is given out all the same.
        """
        warm = self._connections.remembered(tenant, connection_id)
        if warm is not None and self._clock.monotonic() + min_ttl < warm.ready_until:
            self._usage.connection_used(connection_id)
            return token_of(warm)
        known = await self._connections.get(tenant, connection_id)
        token = token_of(known)
        if not self._has_enough(token, min_ttl):
            known = await self._refresh_or_keep(tenant, known)
            token = token_of(known)
        self._usage.connection_used(connection_id)
        return token

    async def instead_of(self, tenant: str, rejected: UsableToken) -> UsableToken | None:
        """Return the successor of a token that the bank has refused; None where there shall be none.

        N calls that report the same version make one refresh. Raises as `usable` does.
        """
        known: CachedConnection | None = await self._connections.get(tenant, rejected.connection_id)
        if known is not None and known.held.connection.version <= rejected.version:
            known = await self._refreshes.refreshed(
                tenant, rejected.connection_id, rejected.version, RefreshCause.REJECTED
            )
        return token_of(known) if known is not None else None

    async def refresh(self, tenant: str, connection_id: str, version: int | None) -> None:
        """Refresh on request; with `version`, only if that is still the current one. Raises as `usable` does."""
        # Not another tenant's, whose queries it would cost.
        if self._connections.remembered(tenant, connection_id) is not None:
            self.forget(connection_id)
        known = await self._connections.get(tenant, connection_id)
        current = known.held.connection.version
        if version is None or version == current:
            await self._refreshes.refreshed(tenant, connection_id, current, RefreshCause.REQUESTED)

    def was_accepted(self, token: UsableToken) -> None:
        """Note that the bank took a token, given in place of one that it had refused."""
        self._refreshes.was_accepted(token)

    @property
    def remembered(self) -> int:
        """How many connections are remembered."""
        return len(self._connections)

    def forget(self, connection_id: str) -> None:
        """Read the connection again at its next use."""
        self._connections.forget(connection_id)

    def forget_all(self) -> None:
        """Read every connection again."""
        self._connections.forget_all()

    def _has_enough(self, token: UsableToken, min_ttl: float) -> bool:
        margin = margin_of(token)
        wanted = max(margin, min(min_ttl, token.lifetime - margin))
        return token.good_until - self._clock.monotonic() >= wanted

    async def _refresh_or_keep(self, tenant: str, known: CachedConnection) -> CachedConnection:
        """Refresh; where the bank cannot, keep a token that is still good."""
        connection = known.held.connection
        is_good = token_of(known).good_until > self._clock.monotonic()
        if is_good and not connection.refreshable:
            return known
        try:
            return (
                await self._refreshes.refreshed(tenant, connection.id, connection.version, RefreshCause.EXPIRED)
                or known
            )
        except (BankError, DatabaseUnavailable):
            if token_of(known).good_until > self._clock.monotonic():
                return known
            raise
