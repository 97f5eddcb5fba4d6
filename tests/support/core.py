"""The core that services are built on, for tests that need a single service."""

from app.base.clock import Clock, SystemClock
from app.base.encryption import KeyRing
from app.concurrency.background_tasks import BackgroundTasks
from app.concurrency.shutdown import ShutdownSignal
from app.core import Core
from app.store.postgresql.database import Database
from app.store.postgresql.notifications import Notifications


def core_of(database: Database, key_ring: KeyRing, clock: Clock | None = None) -> Core:
    """Return a core that does not listen for notifications."""
    return Core(
        database, key_ring, clock or SystemClock(), Notifications(database), BackgroundTasks(), ShutdownSignal()
    )
