"""What every topic stands on: the process's own parts, opened once by `app.runtime`."""

from dataclasses import dataclass

from app.base.clock import Clock
from app.base.encryption import KeyRing
from app.concurrency.background_tasks import BackgroundTasks
from app.concurrency.shutdown import ShutdownSignal
from app.store.postgresql.database import Database
from app.store.postgresql.notifications import Notifications


@dataclass(frozen=True, slots=True)
class Core:
    """The database, the keys, the clock, and what tells this process of changes and of its own end."""

    database: Database
    key_ring: KeyRing
    clock: Clock
    notifications: Notifications
    tasks: BackgroundTasks
    shutdown: ShutdownSignal
