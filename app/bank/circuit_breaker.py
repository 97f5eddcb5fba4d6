"""A bank that is down is left alone for a while, by the whole process."""

from app.base.clock import Clock
from app.concurrency.backoff import exponential_backoff
from app.errors import BankError
from app.observability.logs import get_logger
from app.observability.metrics import CIRCUIT_BREAKER_OPEN

_THRESHOLD = 5
# Wishes for a pause from so many tenants are enough: those of one may be about what it alone has done.
_WISHES = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
# How long the one request that tries whether the bank is back keeps the others waiting. Seconds.
_TRIAL = 5.0
# For so long it is left to another tenant than the one that failed last, where one has asked. Seconds.
_PRECEDENCE = 10.0
logger = get_logger(__name__)


class CircuitBreaker:
    """Opens after several failures in a row, or when the bank insists on a pause; closes at the first success.

    While it is open nothing is claimed and nothing is sent. When its time is over, one request may try.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._wishes: set[str] = set()
        self._open_until = 0.0
        # Who failed last, and who has been turned away since: the next to try.
        self._last = ""
        self._turned_away: set[str] = set()

    def require_closed(self, tenant: str) -> None:
        """Raise BankError, with the time to wait, while the bank is left alone."""
        now = self._clock.monotonic()
        is_others_turn = tenant == self._last and bool(self._turned_away - {tenant})
        if now < self._open_until + (_PRECEDENCE if is_others_turn else 0.0):
            self._turned_away.add(tenant)
            raise BankError(
                "the bank has failed several times, or asked for a pause, and is asked again shortly",
                code="bank_left_alone",
                retry_after=max(self._open_until - now, 1.0),
            )
        if self._failures >= _THRESHOLD:
            self._open_until = now + _TRIAL
            self._turned_away.clear()

    def succeeded(self) -> None:
        """Note an answer that shows the bank at work, be it a refusal of one grant."""
        if self._failures >= _THRESHOLD:
            logger.info("bank_is_back")
        self._failures = 0
        self._wishes.clear()
        self._turned_away.clear()
        self._last = ""
        self._open_until = 0.0
        CIRCUIT_BREAKER_OPEN.set(0)

    def failed(self, retry_after: float | None, *, tenant: str) -> None:
        """Note a failure that other connections would meet as well; `retry_after` is the bank's wish in seconds.

        A wish for long is believed of all tenants together; a single one must not have the others wait for it.
        """
        self._failures += 1
        self._last = tenant
        if retry_after is not None:
            self._wishes.add(tenant)
        is_general = len(self._wishes) >= _WISHES
        if self._failures < _THRESHOLD and not is_general:
            return
        beyond = max(self._failures - _THRESHOLD, 0)
        wish = min(retry_after or 0.0, float("inf") if is_general else _LONGEST_PAUSE)
        pause = max(exponential_backoff(beyond, initial=_FIRST_PAUSE, maximum=_LONGEST_PAUSE), wish)
        self._open_until = self._clock.monotonic() + pause
        CIRCUIT_BREAKER_OPEN.set(1)
        logger.warning("bank_left_alone", failures=self._failures, seconds=round(pause, 1))
