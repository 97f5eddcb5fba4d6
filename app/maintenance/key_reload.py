"""Reloads the encryption keys on SIGHUP, without a restart."""

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
def key_reload_on_sighup(core: Core) -> Iterator[None]:
    """Reload the keys at each SIGHUP during the block. Does nothing outside the main thread, which receives signals."""
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
        # A later SIGHUP must not end the process before its work is done.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def reload_keys(core: Core) -> None:
    """Replace the key ring by that of the settings. If it cannot be used, log an error and keep the current one."""
    try:
        key_ring = load_key_ring()
        await require_keys(core.database, key_ring)
    except BrokerError as error:
        logger.error("keys_not_reloaded", detail=error.detail)  # noqa: TRY400
        return
    core.key_ring.replace_with(key_ring)
    logger.info("keys_reloaded", keys=list(key_ring.key_ids))
