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


def test_it_opens_after_five_failures_and_says_for_how_long(breaker: CircuitBreaker) -> None:
    fail(breaker, 5)
    with pytest.raises(BankError) as refused:
        breaker.require_closed("a")
    assert refused.value.code == "bank_left_alone"
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 2


def test_a_success_in_between_starts_the_count_anew(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.record_success()
    fail(breaker, 4)
    breaker.require_closed("a")


def test_after_the_pause_one_request_may_try(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    fail(breaker, 5)
    clock.advance(2)
    breaker.require_closed("a")
    with pytest.raises(BankError):
        breaker.require_closed("a")
    breaker.record_success()
    breaker.require_closed("a")
    breaker.require_closed("a")


def test_the_banks_wish_is_heeded_when_two_tenants_have_it(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    breaker.record_failure(100, tenant="a")
    # It may have been about one user alone, and who has it waits by itself.
    breaker.require_closed("a")
    breaker.record_failure(100, tenant="b")
    clock.advance(90)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    clock.advance(11)
    breaker.require_closed("a")


def test_what_one_tenant_has_brought_upon_itself_does_not_hold_up_the_others_for_long(
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


def test_the_next_to_try_is_another_tenant_than_the_one_that_failed(
    breaker: CircuitBreaker, clock: AdjustableClock
) -> None:
    fail(breaker, 5)
    with pytest.raises(BankError):
        breaker.require_closed("b")
    clock.advance(2)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    breaker.require_closed("b")
    # Where the other does not come, whoever does may try.
    breaker.record_failure(None, tenant="a")
    with pytest.raises(BankError):
        breaker.require_closed("b")
    clock.advance(30)
    breaker.require_closed("a")


def test_the_pause_grows_and_stays_bounded(breaker: CircuitBreaker, clock: AdjustableClock) -> None:
    fail(breaker, 5_000)
    clock.advance(14)
    with pytest.raises(BankError):
        breaker.require_closed("a")
    clock.advance(17)
    breaker.require_closed("a")
