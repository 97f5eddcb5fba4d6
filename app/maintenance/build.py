"""Builds the maintenance services."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.callers.authentication import CallerAuthenticator
from app.connections.revocation_worker import RevocationWorker
from app.core import Core
from app.login.build import LoginServices
from app.maintenance.gauges import Gauges
from app.maintenance.housekeeping import Housekeeping
from app.maintenance.retention import Retention, RetentionPeriods
from app.refresh.build import RefreshServices
from app.settings import Settings
from app.store.last_used import LastUsedTimes


@dataclass(frozen=True, slots=True)
class MaintenanceServices:
    """Periodic work of every replica."""

    housekeeping: Housekeeping
    retention: Retention
    gauges: Gauges
    last_used: LastUsedTimes


def build(
    core: Core,
    bank: Bank,
    settings: Settings,
    *,
    login: LoginServices,
    refresh: RefreshServices,
    revocation_worker: RevocationWorker,
    authenticator: CallerAuthenticator,
    last_used: LastUsedTimes,
) -> MaintenanceServices:
    """Build the services."""
    periods = RetentionPeriods(
        sessions=settings.session_retention_days,
        refreshes=settings.refresh_retention_days,
        tombstones=settings.tombstone_retention_days,
        audit=settings.audit_retention_days,
    )
    return MaintenanceServices(
        Housekeeping(core, login=login, revocation_worker=revocation_worker, last_used=last_used),
        Retention(core.database, periods),
        Gauges(core, bank, tokens=refresh.tokens, authenticator=authenticator, spool=refresh.spool),
        last_used,
    )
