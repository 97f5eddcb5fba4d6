import pytest

from app.callers.limits import CallerLimits
from app.errors import RateLimited
from tests.support.clock import AdjustableClock


def test_more_requests_at_once_than_allowed_are_refused_until_one_has_ended() -> None:
    limits = CallerLimits(AdjustableClock(), rate=0, concurrency=2)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_1")
    with pytest.raises(RateLimited) as refused:
        limits.enter("shop", "cal_1")
    assert refused.value.retry_after == 1
    limits.leave("shop", "cal_1")
    limits.enter("shop", "cal_1")


def test_one_callers_limit_is_not_anothers() -> None:
    limits = CallerLimits(AdjustableClock(), rate=1, concurrency=1)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_2")
    limits.enter("elsewhere", "cal_1")


def test_a_rate_is_regained_with_time() -> None:
    clock = AdjustableClock()
    limits = CallerLimits(clock, rate=2, concurrency=0)
    limits.enter("shop", "cal_1")
    limits.enter("shop", "cal_1")
    with pytest.raises(RateLimited) as refused:
        limits.enter("shop", "cal_1")
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 0.5
    clock.advance(0.5)
    limits.enter("shop", "cal_1")


def test_a_refused_request_takes_no_place() -> None:
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


def test_callers_that_were_not_heard_of_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.callers.limits._MOST_CALLERS", 3)
    clock = AdjustableClock()
    limits = CallerLimits(clock, rate=1, concurrency=1)
    for name in ("cal_1", "cal_2", "cal_3"):
        limits.enter("shop", name)
    limits.leave("shop", "cal_1")
    clock.advance(301)
    limits.enter("shop", "cal_4")
    with pytest.raises(RateLimited):
        limits.enter("shop", "cal_2")
    limits.enter("shop", "cal_1")
