"""Work that is repeated until the process stops."""

import asyncio
from collections.abc import Awaitable, Callable

from app.concurrency.backoff import with_jitter
from app.concurrency.retry import Sleep
from app.errors import BrokerError
from app.observability.logs import get_logger

_PAUSE_AFTER_ERROR = 5.0  # seconds
logger = get_logger(__name__)


async def run_periodically(
    period: float,
    work: Callable[[], Awaitable[object]],
    *,
    pause_after_error: float = _PAUSE_AFTER_ERROR,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Call `work` every `period` seconds until cancelled. Errors are logged, and `work` is called again after a pause.

    Repeated errors of one kind are logged once, so that an outage does not fill the log.
    """
    logged_code: str | None = None
    while True:
        pause = period
        try:
            await work()
            logged_code = None
        except BrokerError as error:
            if error.code != logged_code:
                logger.warning("housekeeping_paused", work=work.__name__, code=error.code, reason=error.reason)
            logged_code = error.code
            pause = pause_after_error
        except Exception:
            logger.exception("housekeeping_failed", work=work.__name__)
            pause = pause_after_error
        await sleep(with_jitter(pause))
