import pytest

from app.bank.circuit_breaker import CircuitBreaker
from app.errors import BankError
from tests.support.clock import AdjustableClock


@pytest.fixture
def breaker(clock: AdjustableClock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.record_failure(None, tenant="a")


def test_a_few_failures_leave_it_closed(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.require_closed("a")


def test_it_opens_after_five_failures_and_reports_for_how_long(breaker: CircuitBreaker) -> None:
    fail(breaker, 5)
    with pytest.raises(BankError) as rejected:
        breaker.require_closed("a")
    assert rejected.value.code == "bank_left_alone"
    assert rejected.value.retry_after is not None
    assert 0 < rejected.value.retry_after <= 2


def test_a_success_resets_the_count_of_failures(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.record_success()
    fail(breaker, 4)
    breaker.require_closed("a")


def test_after_the_pause_one_request_is_tried(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    fail(breaker, 5)
    clock.advance(2)
    breaker.require_closed("a")
    with pytest.raises(BankError):
        breaker.require_closed("a")
    breaker.record_success()
    breaker.require_closed("a")
    breaker.require_closed("a")


def test_a_pause_that_the_bank_requests_from_two_tenants_is_kept_for_all(
    breaker: CircuitBreaker, clock: AdjustableClock
) -> None:
    breaker.record_failure(100, tenant="a")
    # The limit may be that of one user, whose own requests are paused elsewhere.
    breaker.require_closed("a")
    breaker.record_failure(100, tenant="b")
    clock.advance(90)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    clock.advance(11)
    breaker.require_closed("a")


def test_a_pause_that_the_bank_requests_from_one_tenant_does_not_block_others_for_long(
    breaker: CircuitBreaker, clock: AdjustableClock
) -> None:
    for _ in range(4):
        breaker.record_failure(3_600, tenant="a")
        breaker.require_closed("a")
    breaker.record_failure(3_600, tenant="a")
    with pytest.raises(BankError):
        breaker.require_closed("a")
    clock.advance(30)
    breaker.require_closed("a")


def test_after_a_failure_another_tenant_may_try_next(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    fail(breaker, 5)
    with pytest.raises(BankError):
        breaker.require_closed("b")
    clock.advance(2)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    breaker.require_closed("b")
    # If the other tenant sends no request, the same one may try again.
    breaker.record_failure(None, tenant="a")
    with pytest.raises(BankError):
        breaker.require_closed("b")
    clock.advance(30)
    breaker.require_closed("a")


def test_the_pause_grows_up_to_a_maximum(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    fail(breaker, 5_000)
    clock.advance(14)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    clock.advance(17)
    breaker.require_closed("a")
