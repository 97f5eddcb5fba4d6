import pytest

from app.concurrency.retry import RetryLater, retry_until_done
from app.errors import ConfigurationError, DatabaseUnavailable
from tests.support.logs import capture_log_events


async def test_work_is_retried_through_outages_and_whenever_it_asks_for_it() -> None:
    rejected = ConfigurationError("the database rejects the broker's password")
    outcomes: list[str | Exception] = [DatabaseUnavailable("away"), RetryLater(), rejected, "saved"]
    pauses: list[float] = []

    async def work() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with capture_log_events() as logs:
        assert await retry_until_done(work, about="con_1", sleep=sleep) == "saved"
    assert [line["about"] for line in logs if line["event"] == "waiting_for_database"] == ["con_1"] * 2
    assert len(pauses) == 3


async def test_a_result_of_none_is_a_result() -> None:
    async def work() -> None:
        return None

    await retry_until_done(work, about="con_1")


async def test_other_errors_are_raised_at_once() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await retry_until_done(work, about="con_1")
