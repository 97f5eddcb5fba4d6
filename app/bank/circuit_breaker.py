"""A circuit breaker: stops sending refreshes to a bank that keeps failing, or that asks for a pause."""

from app.base.clock import Clock
from app.concurrency.backoff import exponential_backoff
from app.errors import BankError
from app.observability.logs import get_logger
from app.observability.metrics import CIRCUIT_BREAKER_OPEN

_FAILURE_THRESHOLD = 5
# A requested pause is trusted in full once this many tenants have met it: one tenant may have caused its own.
_TENANTS_TO_TRUST_A_PAUSE = 2
_INITIAL_PAUSE, _MAX_PAUSE = 2.0, 30.0  # seconds
# How long other requests wait for the result of the single trial request, in seconds.
_TRIAL_SECONDS = 5.0
# After a pause, tenants other than the one that failed last may try first, for this many seconds.
_OTHER_TENANTS_FIRST_SECONDS = 10.0
logger = get_logger(__name__)


class CircuitBreaker:
    """Opens after several failures in a row or when the bank asks for a pause, and closes at the first success.

    While it is open, nothing is claimed and nothing is sent. After the pause one request may try.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._tenants_asked_to_pause: set[str] = set()
        self._open_until = 0.0
        self._last_failed_tenant = ""
        self._rejected_tenants: set[str] = set()

    def require_closed(self, tenant: str) -> None:
        """Raise BankError, with the seconds to wait, while the circuit breaker is open."""
        now = self._clock.monotonic()
        others_first = tenant == self._last_failed_tenant and bool(self._rejected_tenants - {tenant})
        if now < self._open_until + (_OTHER_TENANTS_FIRST_SECONDS if others_first else 0.0):
            self._rejected_tenants.add(tenant)
            raise circuit_breaker_open(retry_after=max(self._open_until - now, 1.0))
        if self._failures >= _FAILURE_THRESHOLD:
            self._open_until = now + _TRIAL_SECONDS
            self._rejected_tenants.clear()

    def record_success(self) -> None:
        """Close. Any answer that shows a working bank is a success, even the refusal of one grant."""
        if self._failures >= _FAILURE_THRESHOLD:
            logger.info("circuit_breaker_closed")
        self._failures = 0
        self._tenants_asked_to_pause.clear()
        self._rejected_tenants.clear()
        self._last_failed_tenant = ""
        self._open_until = 0.0
        CIRCUIT_BREAKER_OPEN.set(0)

    def record_failure(self, retry_after: float | None, *, tenant: str) -> None:
        """Count a failure that other connections would meet too. `retry_after`: the seconds the bank asked for.

        A long pause is kept only if several tenants were asked for one, so that one tenant cannot stop the others.
        """
        self._failures += 1
        self._last_failed_tenant = tenant
        if retry_after is not None:
            self._tenants_asked_to_pause.add(tenant)
        is_trusted = len(self._tenants_asked_to_pause) >= _TENANTS_TO_TRUST_A_PAUSE
        if self._failures < _FAILURE_THRESHOLD and not is_trusted:
            return
        excess = max(self._failures - _FAILURE_THRESHOLD, 0)
        requested = min(retry_after or 0.0, float("inf") if is_trusted else _MAX_PAUSE)
        pause = max(exponential_backoff(excess, initial=_INITIAL_PAUSE, maximum=_MAX_PAUSE), requested)
        self._open_until = self._clock.monotonic() + pause
        CIRCUIT_BREAKER_OPEN.set(1)
        logger.warning("circuit_breaker_opened", failures=self._failures, seconds=round(pause, 1))


def circuit_breaker_open(*, retry_after: float | None = None) -> BankError:
    """Return the error for a request to a bank that has failed several times. `retry_after` is in seconds."""
    return BankError(
        "the bank has failed several times or asked for a pause; the broker tries again shortly",
        code="bank_left_alone",
        retry_after=retry_after,
    )
