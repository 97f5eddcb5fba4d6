import pytest

from app.callers.limits import CallerLimits
from app.errors import RateLimited
from tests.support.clock import AdjustableClock


def test_more_concurrent_requests_than_allowed_are_rejected_until_one_ends() -> None:
    limits = CallerLimits(AdjustableClock(), rate=0, concurrency=2)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_1")
    with pytest.raises(RateLimited) as rejected:
        limits.enter("shop", "cal_1")
    assert rejected.value.retry_after == 1
    limits.leave("shop", "cal_1")
    limits.enter("shop", "cal_1")


def test_each_caller_has_its_own_limit() -> None:
    limits = CallerLimits(AdjustableClock(), rate=1, concurrency=1)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_2")
    limits.enter("elsewhere", "cal_1")


def test_the_allowance_grows_with_time() -> None:
    clock = AdjustableClock()
    limits = CallerLimits(clock, rate=2, concurrency=0)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_1")
    with pytest.raises(RateLimited) as rejected:
        limits.enter("shop", "cal_1")
    assert rejected.value.retry_after is not None
    assert 0 < rejected.value.retry_after <= 0.5
    clock.advance(0.5)
    limits.enter("shop", "cal_1")


def test_a_rejected_request_does_not_count_as_running() -> None:
    clock = AdjustableClock()
    limits = CallerLimits(clock, rate=1, concurrency=2)
    limits.enter("shop", "cal_1")
    with pytest.raises(RateLimited):
        limits.enter("shop", "cal_1")
    clock.advance(1)
    limits.enter("shop", "cal_1")
    limits.leave("shop", "cal_1")
    limits.leave("shop", "cal_1")
    limits.leave("shop", "cal_1")


def test_callers_without_recent_requests_are_forgotten() -> None:
    clock = AdjustableClock()
    limits = CallerLimits(clock, rate=1, concurrency=1, max_callers=3)
    for caller_id in ("cal_1", "cal_2", "cal_3"):
        limits.enter("shop", caller_id)
    limits.leave("shop", "cal_1")
    clock.advance(301)
    limits.enter("shop", "cal_4")
    with pytest.raises(RateLimited):
        limits.enter("shop", "cal_2")
    limits.enter("shop", "cal_1")
