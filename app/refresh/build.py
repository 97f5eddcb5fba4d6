"""Builds the services of the refresh protocol."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.core import Core
from app.refresh.connection_cache import ConnectionCache
from app.refresh.coordinator import RefreshCoordinator
from app.refresh.refresher import Refresher, Timing
from app.refresh.tokens import AccessTokens
from app.settings import Settings
from app.spool.refreshes import RefreshSpool
from app.store.last_used import LastUsedTimes


@dataclass(frozen=True, slots=True)
class RefreshServices:
    """Access tokens that are ready to use, and the refreshes behind them."""

    tokens: AccessTokens
    refresher: Refresher
    spool: RefreshSpool


def build(
    core: Core, bank: Bank, settings: Settings, last_used: LastUsedTimes, *, max_wait: float | None = None
) -> RefreshServices:
    """Build the services of one bank client."""
    spool = RefreshSpool(settings.data_dir / "spool", core.key_ring)
    timing = Timing(deadline=settings.refresh_deadline, lease=settings.refresh_lease)
    refresher = Refresher(core, bank, spool=spool, timing=timing)
    connections = ConnectionCache(core, bank.own_client, cache_ttl=settings.cache_ttl)
    refreshes = RefreshCoordinator(
        core,
        connections=connections,
        refresher=refresher,
        max_wait=timing.lease + timing.deadline if max_wait is None else max_wait,
    )
    return RefreshServices(
        AccessTokens(core, connections=connections, refreshes=refreshes, last_used=last_used), refresher, spool
    )
