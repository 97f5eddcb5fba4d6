import pytest

from app.errors import BankError
from app.services.breaker import Breaker
from tests.support.clock import SteerableClock


@pytest.fixture
def breaker(clock: SteerableClock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(None)


def test_a_few_failures_leave_it_closed(breaker: Breaker) -> None:
    fail(breaker, 4)
    breaker.require_closed()


def test_it_opens_after_five_failures_and_says_for_how_long(breaker: Breaker) -> None:
    fail(breaker, 5)
    with pytest.raises(BankError) as refused:
        breaker.require_closed()
    assert refused.value.code == "bank_left_alone"
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 2


def test_a_success_in_between_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    breaker.require_closed()


def test_after_the_pause_one_request_may_try(breaker: Breaker, clock: SteerableClock) -> None:
    fail(breaker, 5)
    clock.advance(2)
    breaker.require_closed()
    with pytest.raises(BankError):
        breaker.require_closed()
    breaker.succeeded()
    breaker.require_closed()
    breaker.require_closed()


def test_the_banks_wish_is_heeded_at_once(breaker: Breaker, clock: SteerableClock) -> None:
    breaker.failed(100)
    clock.advance(90)
    with pytest.raises(BankError):
        breaker.require_closed()
    clock.advance(11)
    breaker.require_closed()


def test_the_pause_grows_and_stays_bounded(breaker: Breaker, clock: SteerableClock) -> None:
    fail(breaker, 50)
    clock.advance(14)
    with pytest.raises(BankError):
        breaker.require_closed()
    clock.advance(17)
    breaker.require_closed()
