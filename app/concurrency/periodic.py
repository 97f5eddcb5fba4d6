"""Work that is done again and again, through whatever goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable

from app.base.randomness import jitter
from app.errors import BrokerError
from app.observability.logs import get_logger

_PAUSE_AFTER_FAULT = 5.0
logger = get_logger(__name__)


async def periodically(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` every so many seconds, until cancelled. What goes wrong is logged, and tried again.

    An outage is logged where it begins, not at each attempt: what else there is to read must not drown in it.
    """
    outage: str | None = None
    while True:
        pause = seconds
        try:
            await work()
            outage = None
        except BrokerError as error:
            if error.code != outage:
                logger.warning("housekeeping_paused", work=work.__name__, code=error.code, reason=error.reason)
            outage = error.code
            pause = _PAUSE_AFTER_FAULT
        except Exception:
            logger.exception("housekeeping_failed", work=work.__name__)
            pause = _PAUSE_AFTER_FAULT
        await asyncio.sleep(jitter(pause))
