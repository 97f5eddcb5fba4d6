"""SIGHUP: take the encryption keys from their file anew, without a pause."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from app.core import Core
from app.errors import BrokerError
from app.observability.logs import get_logger
from app.settings import load_key_ring
from app.store.encryption_keys import require_keys

logger = get_logger(__name__)


@contextmanager
def reloading_keys(core: Core) -> Iterator[None]:
    """Reload the keys at each SIGHUP. Only a main thread may hear of it; elsewhere, as in tests, nothing is changed."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, lambda: core.tasks.spawn(reload_keys(core), "reload of the keys"))
    except (ValueError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        # What comes now comes too late, and must not end the process before its work is done.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def reload_keys(core: Core) -> None:
    """Take over the ring that the settings have now; one that cannot be used is told of, and changes nothing."""
    try:
        ring = load_key_ring()
        await require_keys(core.database, ring)
    except BrokerError as error:
        logger.error("keys_not_reloaded", detail=error.detail)  # noqa: TRY400
        return
    core.key_ring.replace_with(ring)
    logger.info("keys_reloaded", keys=list(ring.key_ids))
