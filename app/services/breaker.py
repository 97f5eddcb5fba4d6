"""A bank that is down is left alone for a while, by the whole process."""

from app.clock import Clock
from app.errors import BankError
from app.logs import get_logger
from app.metrics import BREAKER_OPEN
from app.randomness import jitter

_THRESHOLD = 5
_LONGEST_PAUSE = 30.0
# How long the one request that tries whether the bank is back keeps the others waiting. Seconds.
_TRIAL = 5.0
logger = get_logger(__name__)


class Breaker:
    """Opens after several failures in a row, or when the bank asks for a pause; closes at the first success.

    While it is open nothing is claimed and nothing is sent. When its time is over, one request may try.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    def require_closed(self) -> None:
        """Raise BankError, with the time to wait, while the bank is left alone."""
        now = self._clock.monotonic()
        if now < self._open_until:
            raise BankError(
                "the bank has failed several times and is asked again shortly",
                code="bank_left_alone",
                retry_after=self._open_until - now,
            )
        if self._failures >= _THRESHOLD:
            self._open_until = now + _TRIAL

    def succeeded(self) -> None:
        """Note an answer that shows the bank at work, be it a refusal of one grant."""
        if self._failures >= _THRESHOLD:
            logger.info("bank_is_back")
        self._failures = 0
        self._open_until = 0.0
        BREAKER_OPEN.set(0)

    def failed(self, retry_after: float | None) -> None:
        """Note a failure that other connections would meet as well; `retry_after` is the bank's wish in seconds."""
        self._failures += 1
        if retry_after is None and self._failures < _THRESHOLD:
            return
        pause = max(jitter(min(2.0 ** (self._failures - _THRESHOLD + 1), _LONGEST_PAUSE)), retry_after or 0.0)
        self._open_until = self._clock.monotonic() + pause
        BREAKER_OPEN.set(1)
        logger.warning("bank_left_alone", failures=self._failures, seconds=round(pause, 1))
