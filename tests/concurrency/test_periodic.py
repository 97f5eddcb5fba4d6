import asyncio

import pytest

from app.concurrency.periodic import run_periodically
from app.errors import DatabaseUnavailable
from tests.support.logs import capture_log_events


async def test_work_goes_on_after_errors_and_an_outage_is_logged_once() -> None:
    outcomes: list[Exception | None] = [
        None,
        DatabaseUnavailable("away"),
        DatabaseUnavailable("away"),
        None,
        DatabaseUnavailable("away"),
        LookupError(),
        None,
    ]
    pauses: list[float] = []

    async def work() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not outcomes:
            raise asyncio.CancelledError

    with capture_log_events() as logs, pytest.raises(asyncio.CancelledError):
        await run_periodically(60, work, sleep=sleep)
    assert [line["event"] for line in logs] == ["housekeeping_paused", "housekeeping_paused", "housekeeping_failed"]
    assert [pause >= 30 for pause in pauses] == [True, False, False, True, False, False, True]
